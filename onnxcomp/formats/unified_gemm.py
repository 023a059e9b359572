"""`ai.onnxcomp::UnifiedGemm`, `UnifiedMatMul` and their fused forms: fully connected, in blocks of one magnitude each.

    Y = activation(X W^T + B),  W = decode(kinds, scales, digits, values)

      X       float32 [M, K] in UnifiedGemm, [..., K] with any number of leading dimensions in UnifiedMatMul
      kinds, scales, digits, values    W (N, K), outputs first, in the unified format (unified.py)
      B       float32 [N], always present
      weight_shape                     ints: [N, K]
      block, levels, to                as UnifiedConv's (unified_conv.py)
      clip_min, clip_max | alpha       floats: Clip's bounds, LeakyRelu's slope; only in those forms

The names differ in their bodies as those of SparseGemm and SparseMatMul do (sparse_gemm.py).
"""

from dataclasses import dataclass
from typing import Any

from onnx import FunctionProto, NodeProto, helper

from onnxcomp.formats.activation import ACTIVATIONS
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.formats.sparse_gemm import product_nodes
from onnxcomp.formats.unified import Unified
from onnxcomp.formats.unified_body import ATTRIBUTES, INPUTS, decode_nodes
from onnxcomp.formats.unified_conv import weight_attributes


@dataclass(frozen=True)
class Form:
    """What an operator's name says: whether X may have any rank, and the activation."""

    any_rank: bool = False
    activation: str = ""

    @property
    def op(self) -> str:
        """The operator's name: UnifiedGemm, UnifiedGemmRelu, UnifiedMatMul, ..."""
        return ("UnifiedMatMul" if self.any_rank else "UnifiedGemm") + self.activation


FORMS = {form.op: form for any_rank in (False, True) for form in (Form(any_rank, a) for a in ACTIVATIONS)}


def function(form: Form, opset: int) -> FunctionProto:
    """The body of the operator for a model of default-domain opset `opset` (13 or later)."""
    return helper.make_function(
        DOMAIN,
        form.op,
        ["X", *INPUTS, "B"],
        ["Y"],
        decode_nodes("W") + product_nodes(form.any_rank, form.activation),
        [helper.make_opsetid("", opset)],
        [*ATTRIBUTES, *ACTIVATIONS[form.activation]],
    )


def node(
    form: Form,
    inputs: list[str],
    output: str,
    weight_shape: tuple[int, int],
    stored: Unified,
    name: str = "",
    **attributes: Any,
) -> NodeProto:
    """A node of the operator for the weight `stored`. `inputs` are X, kinds, scales, digits, values, B; `attributes`
    are the activation's.
    """
    return helper.make_node(
        form.op, inputs, [output], name, domain=DOMAIN, **weight_attributes(stored, weight_shape), **attributes
    )
