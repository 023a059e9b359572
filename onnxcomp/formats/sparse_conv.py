"""`ai.onnxcomp::SparseConv` and its fused forms: the operator as it stands in a file.

    Y = activation(Conv(X, decode(mask, values), B) [+ Z])

      X       float32 [N, C_in, (H,) W]
      mask    uint8 [ceil(n/8)], values float32 or float16 [nnz]: the weight as a bitmap (bitmap.py), OIHW order
      B       float32 [C_out], always present
      Z       float32, Y's shape; only where the operator's name has "Add"
      weight_shape                                 ints: [C_out, C_in / group, (kh,) kw]
      structure                                    string: "unstructured"
      to                                           int: 1 (float32), the type the weight is decoded to
      strides, pads, dilations, group, auto_pad    as Conv's, with Conv's defaults where absent
      clip_min, clip_max | alpha                   floats: Clip's bounds, LeakyRelu's slope; only in those forms

A fused form has a name of its own, `SparseConv[Add][activation]`, since a function body cannot leave an operator out by
an attribute. Every name has a body in standard operators, so a runtime without our library inlines it and runs its
dense Conv; with the library registered the kernel is used.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from onnx import FunctionProto, NodeProto, TensorProto, helper

from onnxcomp.formats import bitmap
from onnxcomp.formats.functions import DOMAIN, refer

BASE = "SparseConv"
CONV_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_DECODED_TYPE = TensorProto.FLOAT


def _activation_nodes(name: str, x: str, y: str) -> list[NodeProto]:
    node = helper.make_node
    match name:
        case "Clip":
            bounds = [refer(node("Constant", [], [bound]), value_float=bound) for bound in ("clip_min", "clip_max")]
            return [*bounds, node("Clip", [x, "clip_min", "clip_max"], [y])]
        case "LeakyRelu":
            return [refer(node("LeakyRelu", [x], [y]), alpha="alpha")]
        case "HardSwish":
            return [node("HardSigmoid", [x], ["gate"], alpha=1 / 6, beta=0.5), node("Mul", [x, "gate"], [y])]
        case "Silu":
            return [node("Sigmoid", [x], ["gate"]), node("Mul", [x, "gate"], [y])]
        case _:
            return [node(name, [x], [y])]


# Activations that can be fused, and the attributes each takes. "" is none.
ACTIVATIONS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "": (),
        "Relu": (),
        "Clip": ("clip_min", "clip_max"),
        "LeakyRelu": ("alpha",),
        "Sigmoid": (),
        "HardSwish": (),
        "Silu": (),
    }
)


@dataclass(frozen=True)
class Epilogue:
    """What follows the convolution inside the operator: a residual to add, then an activation."""

    residual: bool = False
    activation: str = ""

    @property
    def op(self) -> str:
        """The operator's name: SparseConv, SparseConvRelu, SparseConvAdd, SparseConvAddRelu, ..."""
        return BASE + ("Add" if self.residual else "") + self.activation


EPILOGUES = {e.op: e for residual in (False, True) for e in (Epilogue(residual, a) for a in ACTIVATIONS)}


def function(epilogue: Epilogue, opset: int) -> FunctionProto:
    """The body of the operator for a model of default-domain opset `opset` (13 or later)."""
    node = helper.make_node
    body = bitmap.decode_nodes("mask", "values", "W")
    body.append(refer(node("Conv", ["X", "W", "B"], ["convolved"]), **{a: a for a in CONV_ATTRIBUTES}))
    result = "convolved"
    if epilogue.residual:
        body.append(node("Add", [result, "Z"], ["added"]))
        result = "added"
    if epilogue.activation:
        body += _activation_nodes(epilogue.activation, result, "Y")
    else:
        body[-1].output[0] = "Y"
    return helper.make_function(
        DOMAIN,
        epilogue.op,
        ["X", "mask", "values", "B"] + (["Z"] if epilogue.residual else []),
        ["Y"],
        body,
        [helper.make_opsetid("", opset)],
        ["weight_shape", "structure", "to", *CONV_ATTRIBUTES, *ACTIVATIONS[epilogue.activation]],
    )


def node(
    epilogue: Epilogue, inputs: list[str], output: str, weight_shape: tuple[int, ...], name: str = "", **attributes: Any
) -> NodeProto:
    """A node of the operator. `inputs` are X, mask, values, B[, Z]; `attributes` are Conv's and the activation's."""
    return helper.make_node(
        epilogue.op,
        inputs,
        [output],
        name,
        domain=DOMAIN,
        weight_shape=list(weight_shape),
        structure="unstructured",
        to=_DECODED_TYPE,
        **attributes,
    )
