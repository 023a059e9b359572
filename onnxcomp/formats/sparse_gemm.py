"""`ai.onnxcomp::SparseGemm`, `SparseMatMul` and their fused forms: the operators as they stand in a file.

    Y = activation(X W^T + B),  W = decode(mask, values)

      X       float32 [M, K] in SparseGemm, [..., K] with any number of leading dimensions in SparseMatMul
      mask    uint8 [ceil(NK/8)], values float32 or float16 [nnz]: W (N, K), outputs first, as a bitmap (bitmap.py)
      B       float32 [N], always present
      weight_shape                     ints: [N, K]
      structure                        string: "unstructured"
      to                               int: 1 (float32), the type the weight is decoded to
      clip_min, clip_max | alpha       floats: Clip's bounds, LeakyRelu's slope; only in those forms

A weight that the network holds as (K, N), as MatMul's and Gemm's without transB are, is stored transposed. The two
names differ in their bodies: Gemm is the faster in ONNX Runtime, but takes matrices only.
"""

from dataclasses import dataclass
from typing import Any

from onnx import FunctionProto, NodeProto, TensorProto, helper

from onnxcomp.formats import bitmap
from onnxcomp.formats.activation import ACTIVATIONS, activation_nodes
from onnxcomp.formats.functions import DOMAIN


@dataclass(frozen=True)
class Form:
    """What an operator's name says: whether X may have any rank, and the activation."""

    any_rank: bool = False
    activation: str = ""

    @property
    def op(self) -> str:
        """The operator's name: SparseGemm, SparseGemmRelu, SparseMatMul, ..."""
        return ("SparseMatMul" if self.any_rank else "SparseGemm") + self.activation


FORMS = {form.op: form for any_rank in (False, True) for form in (Form(any_rank, a) for a in ACTIVATIONS)}


def function(form: Form, opset: int) -> FunctionProto:
    """The body of the operator for a model of default-domain opset `opset` (13 or later)."""
    return helper.make_function(
        DOMAIN,
        form.op,
        ["X", "mask", "values", "B"],
        ["Y"],
        bitmap.decode_nodes("mask", "values", "W") + product_nodes(form.any_rank, form.activation),
        [helper.make_opsetid("", opset)],
        ["weight_shape", "structure", "to", *ACTIVATIONS[form.activation]],
    )


def product_nodes(any_rank: bool, activation: str) -> list[NodeProto]:
    """Y = activation(X W^T + B) in a body, where X is a matrix or, with `any_rank`, has any leading dimensions."""
    node = helper.make_node
    if any_rank:
        body = [
            node("Transpose", ["W"], ["W_transposed"], perm=[1, 0]),
            node("MatMul", ["X", "W_transposed"], ["product"]),
            node("Add", ["product", "B"], ["sum"]),
        ]
    else:
        body = [node("Gemm", ["X", "W", "B"], ["sum"], transB=1)]
    if activation:
        return body + activation_nodes(activation, "sum", "Y")
    body[-1].output[0] = "Y"
    return body


def node(
    form: Form, inputs: list[str], output: str, weight_shape: tuple[int, int], name: str = "", **attributes: Any
) -> NodeProto:
    """A node of the operator. `inputs` are X, mask, values, B; `attributes` are the activation's."""
    return helper.make_node(
        form.op,
        inputs,
        [output],
        name,
        domain=DOMAIN,
        weight_shape=list(weight_shape),
        structure="unstructured",
        to=TensorProto.FLOAT,
        **attributes,
    )
