"""`ai.onnxcomp::BasisConv` and its fused forms: a convolution whose kernels are sums of a few shared ones.

    Y = activation(Conv(X, W, B) [+ Z]),  W[o, i] = sum over b of C[o, i, b] bases[b],  C = decode(mask, values)

      X       float32 [N, C_in, (H,) W]
      bases   float32 [d, (kh,) kw]: the kernels that all channels share
      mask    uint8, values float32 or float16: C (C_out, C_in / group, d) as a bitmap (bitmap.py)
      B       float32 [C_out], always present
      Z       float32, Y's shape; only where the operator's name has "Add"
      coefficients_shape                           ints: [C_out, C_in / group, d]
      to                                           int: 1 (float32), the type the coefficients are decoded to
      strides, pads, dilations, group, auto_pad    as Conv's, with Conv's defaults where absent
      clip_min, clip_max | alpha                   floats: Clip's bounds, LeakyRelu's slope; only in those forms

X, bases, mask, values, B[, Z] is the order of the inputs. The body multiplies the coefficients by the bases, which a
runtime without our library does once, when the session loads, and runs its dense Conv. With the library registered
each channel is convolved with the d bases, and the coefficients, mostly zeros, combine what comes of it.

The decomposition is PENNI's (Li et al., PENNI: Pruned Kernel Sharing for Efficient CNN Inference, ICML 2020).
"""

from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from onnxcomp.formats import bitmap
from onnxcomp.formats.activation import ACTIVATIONS
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.formats.sparse_conv import CONV_ATTRIBUTES, EVERY_EPILOGUE, Epilogue, convolution_nodes

BASE = "BasisConv"
_DECODED_TYPE = TensorProto.FLOAT


def op(epilogue: Epilogue) -> str:
    """The operator's name: BasisConv, BasisConvRelu, BasisConvAdd, BasisConvAddRelu, ..."""
    return BASE + epilogue.suffix


# By the operator's name, what follows the convolution.
EPILOGUES = MappingProxyType({op(epilogue): epilogue for epilogue in EVERY_EPILOGUE})


def encode(coefficients: NDArray[np.floating]) -> bitmap.Bitmap:
    """`coefficients` (C_out, C_in / group, d) as the operator stores them."""
    if coefficients.ndim != 3:
        raise ValueError(f"coefficients have {coefficients.ndim} dimensions: output channel, input channel, basis")
    return bitmap.encode(coefficients)


def function(epilogue: Epilogue, opset: int) -> FunctionProto:
    """The body of the operator for a model of default-domain opset `opset` (13 or later)."""
    body = bitmap.decode_nodes("mask", "values", "coefficients", "coefficients_shape")
    body += _weight_nodes() + convolution_nodes(epilogue)
    return helper.make_function(
        DOMAIN,
        op(epilogue),
        ["X", "bases", "mask", "values", "B"] + (["Z"] if epilogue.residual else []),
        ["Y"],
        body,
        [helper.make_opsetid("", opset)],
        ["coefficients_shape", "to", *CONV_ATTRIBUTES, *ACTIVATIONS[epilogue.activation]],
    )


def _weight_nodes() -> list[NodeProto]:
    """W from `coefficients`, `bases` and what bitmap.decode_nodes defines: `shape`, the coefficients', and `first`."""
    node = helper.make_node

    def integers(name: str, *values: int) -> NodeProto:
        return node("Constant", [], [name], value=numpy_helper.from_array(np.array(values, np.int64), name))

    return [
        integers("second", 1),
        integers("third", 2),
        integers("end", np.iinfo(np.int64).max),
        integers("rows", 0, -1),
        node("Slice", ["shape", "first", "third"], ["channels"]),
        node("Shape", ["bases"], ["bases_shape"]),
        node("Slice", ["bases_shape", "second", "end"], ["kernel"]),
        node("Concat", ["channels", "kernel"], ["W_shape"], axis=0),
        node("Reshape", ["bases", "rows"], ["bases_by_row"]),
        node("MatMul", ["coefficients", "bases_by_row"], ["W_by_channel"]),
        node("Reshape", ["W_by_channel", "W_shape"], ["W"]),
    ]


def node(
    epilogue: Epilogue,
    inputs: list[str],
    output: str,
    coefficients_shape: tuple[int, ...],
    name: str = "",
    **attributes: Any,
) -> NodeProto:
    """A node of the operator. `inputs` are X, bases, mask, values, B[, Z]; `attributes` Conv's and the activation's."""
    return helper.make_node(
        op(epilogue),
        inputs,
        [output],
        name,
        domain=DOMAIN,
        coefficients_shape=list(coefficients_shape),
        to=_DECODED_TYPE,
        **attributes,
    )
