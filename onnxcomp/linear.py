"""A Gemm or MatMul with a constant weight as numbers: Y = X W^T + b."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.convolution import is_standard, why_unknown
from onnxcomp.model import Model


@dataclass(frozen=True, eq=False)
class Linear:
    """A fully connected layer: the nodes that make it up, and their constants, factors included."""

    nodes: tuple[gs.Node, ...]  # Gemm; or MatMul, and the Add of its bias where there is one
    weight: NDArray[Any]  # W (N, K), outputs first
    bias: NDArray[Any]  # b (N), zeros where the layer has none

    @property
    def any_rank(self) -> bool:
        """Whether X may be other than a matrix."""
        return bool(self.nodes[0].op == "MatMul")

    @property
    def bias_or_zeros(self) -> NDArray[Any]:
        """b, as a Convolution has it."""
        return self.bias

    @classmethod
    def read(cls, model: Model, node: gs.Node) -> "Linear | str":
        """The numbers of `node`, a Gemm or MatMul, or the reason they are not known."""
        weight = model.constant(node.inputs[1])
        if weight is None:
            if node.op == "MatMul" and model.constant(node.inputs[0]) is not None:
                return "the weight is its first input"
            return why_unknown(model, node.inputs[1])
        if weight.ndim != 2 or 0 in weight.shape:
            return f"weight has the shape {list(weight.shape)}"
        return _read_gemm(model, node, weight) if node.op == "Gemm" else _read_matmul(model, node, weight)


def _read_gemm(model: Model, node: gs.Node, weight: NDArray[Any]) -> Linear | str:
    attributes: Mapping[str, Any] = node.attrs
    if attributes.get("transA", 0):
        return "its first input is transposed"
    rows = weight if attributes.get("transB", 0) else weight.T
    bias: NDArray[Any] = np.zeros(len(rows), weight.dtype)
    if len(node.inputs) > 2 and not node.inputs[2].is_empty():
        addend = model.constant(node.inputs[2])
        if addend is None:
            return f"bias: {why_unknown(model, node.inputs[2])}"
        found = _as_bias(addend, len(rows))
        if found is None:
            return f"bias has the shape {list(addend.shape)}, the layer {len(rows)} outputs"
        bias = found
    return Linear((node,), _scaled(rows, attributes.get("alpha", 1.0)), _scaled(bias, attributes.get("beta", 1.0)))


def _read_matmul(model: Model, node: gs.Node, weight: NDArray[Any]) -> Linear:
    rows = weight.T
    product = node.outputs[0]
    private = len(product.outputs) == 1 and not model.is_interface(product) and not model.is_captured(product)
    add = product.outputs[0] if private else None
    if add is not None and is_standard(add, "Add"):
        addend = model.constant(add.inputs[1] if add.inputs[0] is product else add.inputs[0])
        # One of a higher rank would give the sum that rank; without inference the product's is at least 1.
        rank = len(product.shape) if product.shape is not None else 1
        bias = None if addend is None or addend.ndim > rank else _as_bias(addend, len(rows))
        if bias is not None:
            return Linear((node, add), rows, bias)
    return Linear((node,), rows, np.zeros(len(rows), weight.dtype))


def _as_bias(addend: NDArray[Any], outputs: int) -> NDArray[Any] | None:
    """`addend` as b (N), where it is the same for every row of X."""
    if addend.size == 1:
        return np.full(outputs, addend.item(), addend.dtype)
    return addend.reshape(-1) if addend.size == outputs and addend.shape[-1] == outputs else None


def _scaled(values: NDArray[Any], factor: float) -> NDArray[Any]:
    if factor == 1:
        return values
    with np.errstate(over="ignore", invalid="ignore"):  # what is no number then, passes decline
        scaled: NDArray[Any] = values * values.dtype.type(factor)
    return scaled
