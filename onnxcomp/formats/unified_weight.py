"""`ai.onnxcomp::UnifiedWeight`: a weight in the unified format, decoded when the session loads by standard operators.

    UnifiedWeight(kinds, scales, digits, values) -> weight
      weight_shape, block, levels, to   as UnifiedConv's (unified_conv.py)

A model-local function only: no kernel of ours takes part, the runtime folds it into the dense weight.
"""

from onnx import FunctionProto, NodeProto, helper

from onnxcomp.formats.functions import DOMAIN
from onnxcomp.formats.unified import Unified
from onnxcomp.formats.unified_body import ATTRIBUTES, INPUTS, decode_nodes
from onnxcomp.formats.unified_conv import weight_attributes

OP = "UnifiedWeight"


def function(opset: int) -> FunctionProto:
    """The function's definition for a model of default-domain opset `opset` (13 or later)."""
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_function(DOMAIN, OP, [*INPUTS], ["weight"], decode_nodes("weight"), opsets, [*ATTRIBUTES])


def node(inputs: list[str], output: str, weight_shape: tuple[int, ...], stored: Unified) -> NodeProto:
    """A node of the function for a weight of `weight_shape`. `inputs` are kinds, scales, digits and values."""
    return helper.make_node(OP, inputs, [output], domain=DOMAIN, **weight_attributes(stored, weight_shape))
