"""`ai.onnxcomp::SparseWeight`: a weight stored as a bitmap and decoded, when the session loads, by standard operators.

    SparseWeight(mask uint8 [ceil(n/8)], values float [nnz]) -> weight
      weight_shape  ints   the weight's shape
      to            int    its ONNX element type

A model-local function only: no kernel of ours takes part, the runtime folds it into the dense weight.
"""

from onnx import FunctionProto, helper

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
