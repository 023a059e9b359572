"""`ai.onnxcomp::SparseConv`, `BlockSparseConv` and their fused forms: the operators as they stand in a file.

    Y = activation(Conv(X, decode(mask, values), B) [+ Z])

      X       float32 [N, C_in, (H,) W]
      mask    uint8, values float32 or float16: the weight, OIHW order, as a bitmap (bitmap.py) in SparseConv and as
              a block bitmap (block_bitmap.py) in BlockSparseConv
      B       float32 [C_out], always present
      Z       float32, Y's shape; only where the operator's name has "Add"
      weight_shape                                 ints: [C_out, C_in / group, (kh,) kw]
      structure                                    string: what is known of the zeros, see below
      block                                        ints: [b], the height of a block; BlockSparseConv only
      to                                           int: 1 (float32), the type the weight is decoded to
      strides, pads, dilations, group, auto_pad    as Conv's, with Conv's defaults where absent
      clip_min, clip_max | alpha                   floats: Clip's bounds, LeakyRelu's slope; only in those forms

      structure      operator         promise
      unstructured   SparseConv       none
      n:16           SparseConv       of every 16 consecutive input channels of a group, counted from its first, n (1 to
                                      15) at most are not zero, at each output channel and tap; the last may be fewer
      4x1, 16x1      BlockSparseConv  whole blocks of 4 or 16 output channels at one input channel and tap are zero

A fused form has a name of its own, `SparseConv[Add][activation]`, since a function body cannot leave an operator out by
an attribute; blocks have one since they decode in another way. Every name has a body in standard operators, so a
runtime without our library inlines it and runs its dense Conv; with the library registered the kernel is used.
"""

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto, NodeProto, TensorProto, helper

from onnxcomp.formats import bitmap, block_bitmap
from onnxcomp.formats.activation import ACTIVATIONS, activation_nodes
from onnxcomp.formats.functions import DOMAIN, refer

BASE = "SparseConv"
UNSTRUCTURED = "unstructured"
BLOCK_HEIGHTS = MappingProxyType({"4x1": 4, "16x1": 16})  # by structure
WINDOW = 16  # input channels of n:16
CONV_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_DECODED_TYPE = TensorProto.FLOAT


@dataclass(frozen=True)
class Epilogue:
    """What follows the convolution inside the operator: a residual to add, then an activation."""

    residual: bool = False
    activation: str = ""

    def op(self, structure: str = UNSTRUCTURED) -> str:
        """The operator's name: SparseConv, SparseConvRelu, BlockSparseConvAdd, BlockSparseConvAddRelu, ..."""
        return ("Block" if structure in BLOCK_HEIGHTS else "") + BASE + self.suffix

    @property
    def suffix(self) -> str:
        """The end of the operator's name: "", Relu, Add, AddRelu, ..."""
        return ("Add" if self.residual else "") + self.activation


EVERY_EPILOGUE = tuple(Epilogue(residual, activation) for residual in (False, True) for activation in ACTIVATIONS)
# Every operator's name, by the order of its weight and by what follows the convolution.
EPILOGUES = {e.op(structure): e for structure in (UNSTRUCTURED, "16x1") for e in EVERY_EPILOGUE}


def is_known(structure: str) -> bool:
    """Whether the format has `structure`: unstructured, 4x1, 16x1 or n:16 with n from 1 to 15."""
    return structure == UNSTRUCTURED or structure in BLOCK_HEIGHTS or kept_of_window(structure) is not None


def kept_of_window(structure: str) -> int | None:
    """The n of n:16; None where `structure` is another."""
    found = re.fullmatch(r"([1-9]|1[0-5]):16", structure)
    return int(found[1]) if found else None


def encode(weight: NDArray[np.floating], structure: str = UNSTRUCTURED) -> bitmap.Bitmap:
    """`weight` as the operator of `structure` stores it. Raises ValueError where its zeros are not of that kind."""
    if not is_known(structure):
        raise ValueError(f"the format has no structure '{structure}'")
    if structure in BLOCK_HEIGHTS:
        return block_bitmap.encode(weight, BLOCK_HEIGHTS[structure])
    kept = kept_of_window(structure)
    if kept is not None and (most := most_in_window(weight)) > kept:
        raise ValueError(f"a window of {WINDOW} input channels holds {most} values, {structure} allows {kept}")
    return bitmap.encode(weight)


def most_in_window(weight: NDArray[np.floating]) -> int:
    """The most nonzeros in any 16 consecutive input channels of `weight` (C_out, C_in / group, k...) at a tap."""
    nonzero = weight != 0
    windows = (nonzero[:, first : first + WINDOW].sum(axis=1) for first in range(0, weight.shape[1], WINDOW))
    return max((int(window.max()) for window in windows if window.size), default=0)


def function(epilogue: Epilogue, opset: int, structure: str = UNSTRUCTURED) -> FunctionProto:
    """The body of the operator for a model of default-domain opset `opset` (13 or later)."""
    blocks = structure in BLOCK_HEIGHTS
    body = (block_bitmap if blocks else bitmap).decode_nodes("mask", "values", "W") + convolution_nodes(epilogue)
    stored = ["weight_shape", "structure", *(["block"] if blocks else []), "to"]
    return helper.make_function(
        DOMAIN,
        epilogue.op(structure),
        ["X", "mask", "values", "B"] + (["Z"] if epilogue.residual else []),
        ["Y"],
        body,
        [helper.make_opsetid("", opset)],
        [*stored, *CONV_ATTRIBUTES, *ACTIVATIONS[epilogue.activation]],
    )


def convolution_nodes(epilogue: Epilogue) -> list[NodeProto]:
    """Y = activation(Conv(X, W, B) [+ Z]) in a body whose function has CONV_ATTRIBUTES and the activation's."""
    node = helper.make_node
    result = "convolved"
    body = [refer(node("Conv", ["X", "W", "B"], [result]), **{a: a for a in CONV_ATTRIBUTES})]
    if epilogue.residual:
        body.append(node("Add", [result, "Z"], ["added"]))
        result = "added"
    if epilogue.activation:
        return body + activation_nodes(epilogue.activation, result, "Y")
    body[-1].output[0] = "Y"
    return body


def node(
    epilogue: Epilogue,
    inputs: list[str],
    output: str,
    weight_shape: tuple[int, ...],
    name: str = "",
    structure: str = UNSTRUCTURED,
    **attributes: Any,
) -> NodeProto:
    """A node of the operator. `inputs` are X, mask, values, B[, Z]; `attributes` are Conv's and the activation's."""
    if structure in BLOCK_HEIGHTS:
        attributes["block"] = [BLOCK_HEIGHTS[structure]]
    return helper.make_node(
        epilogue.op(structure),
        inputs,
        [output],
        name,
        domain=DOMAIN,
        weight_shape=list(weight_shape),
        structure=structure,
        to=_DECODED_TYPE,
        **attributes,
    )
