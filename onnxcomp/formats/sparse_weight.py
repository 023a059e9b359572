"""`ai.onnxcomp::SparseWeight`: a weight stored as a bitmap and decoded, when the session loads, by standard operators.

    SparseWeight(mask uint8 [ceil(n/8)], values float [nnz]) -> weight
      weight_shape  ints   the weight's shape
      to            int    its ONNX element type

A model-local function only: no kernel of ours takes part, the runtime folds it into the dense weight.
"""

from typing import Any

import numpy as np
from onnx import FunctionProto, NodeProto, helper

from onnxcomp.formats import bitmap
from onnxcomp.formats.functions import DOMAIN

OP = "SparseWeight"


def function(opset: int) -> FunctionProto:
    """The function's definition for a model of default-domain opset `opset` (13 or later)."""
    return helper.make_function(
        DOMAIN,
        OP,
        ["mask", "values"],
        ["weight"],
        bitmap.decode_nodes("mask", "values", "weight"),
        [helper.make_opsetid("", opset)],
        ["weight_shape", "to"],
    )


def node(inputs: list[str], output: str, weight_shape: tuple[int, ...], dtype: np.dtype[Any]) -> NodeProto:
    """A node of the function. `inputs` are mask and values; `weight_shape` and `dtype` are the weight's."""
    return helper.make_node(
        OP,
        inputs,
        [output],
        domain=DOMAIN,
        weight_shape=list(weight_shape),
        to=helper.np_dtype_to_tensor_dtype(dtype),
    )
