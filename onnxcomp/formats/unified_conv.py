"""`ai.onnxcomp::UnifiedConv` and its fused forms: a convolution whose weight comes in blocks of one magnitude each.

    Y = activation(Conv(X, decode(kinds, scales, digits, values), B) [+ Z])

      X       float32 [N, C_in, (H,) W]
      kinds, scales, digits, values                the weight, OIHW order, in the unified format (unified.py)
      B       float32 [C_out], always present
      Z       float32, Y's shape; only where the operator's name has "Add"
      weight_shape                                 ints: [C_out, C_in / group, (kh,) kw]
      block                                        ints: [go, gi], the output and the input channels of a block
      levels                                       floats: what the digits stand for, [1, -1, ...]
      to                                           int: 1 (float32), the type the weight is decoded to
      strides, pads, dilations, group, auto_pad    as Conv's, with Conv's defaults where absent
      clip_min, clip_max | alpha                   floats: Clip's bounds, LeakyRelu's slope; only in those forms

X, kinds, scales, digits, values, B[, Z] is the order of the inputs. A runtime without our library decodes the weight
once, when the session loads, and runs its dense Conv. With the library registered, sums of four input channels under
each pattern of signs are formed once, and each serves all the weights that share a magnitude by one product.
"""

from types import MappingProxyType
from typing import Any

from onnx import FunctionProto, NodeProto, TensorProto, helper

from onnxcomp.formats.activation import ACTIVATIONS
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.formats.sparse_conv import CONV_ATTRIBUTES, EVERY_EPILOGUE, Epilogue, convolution_nodes
from onnxcomp.formats.unified import Unified, signed_levels
from onnxcomp.formats.unified_body import ATTRIBUTES, INPUTS, decode_nodes

BASE = "UnifiedConv"


def op(epilogue: Epilogue) -> str:
    """The operator's name: UnifiedConv, UnifiedConvRelu, UnifiedConvAdd, UnifiedConvAddRelu, ..."""
    return BASE + epilogue.suffix


# By the operator's name, what follows the convolution.
EPILOGUES = MappingProxyType({op(epilogue): epilogue for epilogue in EVERY_EPILOGUE})


def function(epilogue: Epilogue, opset: int) -> FunctionProto:
    """The body of the operator for a model of default-domain opset `opset` (13 or later)."""
    return helper.make_function(
        DOMAIN,
        op(epilogue),
        ["X", *INPUTS, "B"] + (["Z"] if epilogue.residual else []),
        ["Y"],
        decode_nodes("W") + convolution_nodes(epilogue),
        [helper.make_opsetid("", opset)],
        [*ATTRIBUTES, *CONV_ATTRIBUTES, *ACTIVATIONS[epilogue.activation]],
    )


def node(
    epilogue: Epilogue,
    inputs: list[str],
    output: str,
    weight_shape: tuple[int, ...],
    stored: Unified,
    name: str = "",
    **attributes: Any,
) -> NodeProto:
    """A node of the operator for the weight `stored`. `inputs` are X, kinds, scales, digits, values, B[, Z];
    `attributes` are Conv's and the activation's.
    """
    return helper.make_node(
        op(epilogue), inputs, [output], name, domain=DOMAIN, **weight_attributes(stored, weight_shape), **attributes
    )


def weight_attributes(stored: Unified, weight_shape: tuple[int, ...]) -> dict[str, Any]:
    """The attributes that say how `stored` is decoded."""
    return {
        "weight_shape": list(weight_shape),
        "block": list(stored.block),
        "levels": signed_levels(stored.levels).tolist(),
        "to": TensorProto.FLOAT,
    }
