"""A Conv node as numbers, and the other layers that hold weights as far as their cost goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.model import Model

STANDARD_DOMAINS = ("", "ai.onnx", None)
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def label(node: gs.Node) -> str:
    """What reports and patterns call a node: its name, or its first output's where it has none."""
    return str(node.name or (node.outputs[0].name if node.outputs else node.op))


def is_standard(node: gs.Node, *ops: str) -> bool:
    """True for a node of the standard domain whose operator is one of `ops`."""
    return node.op in ops and node.domain in STANDARD_DOMAINS


@dataclass(frozen=True, eq=False)
class Convolution:
    """A Conv: Y = W * X + b, cross-correlation as ONNX defines it."""

    weight: NDArray[np.floating]  # W (C_out, C_in / group, k...)
    bias: NDArray[np.floating] | None  # b (C_out)
    attributes: Mapping[str, object]  # Conv's own, as they stand on the node; absent ones have ONNX's defaults
    group: int

    @classmethod
    def read(cls, model: Model, node: gs.Node) -> "Convolution | str":
        """The numbers of `node`, or the reason they are not known."""
        weight = model.constant(node.inputs[1])
        if weight is None:
            return why_unknown(model, node.inputs[1])
        if weight.ndim < 3 or 0 in weight.shape:
            return f"weight has the shape {list(weight.shape)}"
        bias = None
        if len(node.inputs) > 2 and not node.inputs[2].is_empty():
            bias = model.constant(node.inputs[2])
            if bias is None:
                return f"bias: {why_unknown(model, node.inputs[2])}"
            if bias.shape != weight.shape[:1]:
                return f"bias has the shape {list(bias.shape)}, the weight {list(weight.shape)}"
        group = int(node.attrs.get("group", 1))
        if group < 1 or weight.shape[0] % group:
            return f"{weight.shape[0]} output channels do not divide into {group} groups"
        return cls(weight, bias, dict(node.attrs), group)

    @property
    def bias_or_zeros(self) -> NDArray[np.floating]:
        """b, or zeros: an inner Conv without a bias would lose ORT's fast path (docs/decisions.md)."""
        return self.bias if self.bias is not None else np.zeros(self.weight.shape[0], self.weight.dtype)


def why_unknown(model: Model, tensor: gs.Tensor) -> str:
    """Why `tensor` has no value before the model runs."""
    if model.is_interface(tensor):
        return f"'{tensor.name}' is a graph input: a caller may replace it"
    if not tensor.inputs:
        return f"'{tensor.name}' holds no readable value"
    return f"'{tensor.name}' is computed when the model runs"


def macs(node: gs.Node, shapes: Mapping[str, Sequence[int]], weight_shape: Sequence[int]) -> int | None:
    """Multiply-adds of a layer with weights when run densely, None where a shape is unknown."""
    output = shapes.get(node.outputs[0].name)
    if output is None:
        return None
    if is_standard(node, "ConvTranspose"):
        source = shapes.get(node.inputs[0].name)
        return None if source is None else prod(source[:1]) * prod(source[2:]) * prod(weight_shape)
    if is_standard(node, "Conv"):
        return prod(output[:1]) * prod(output[2:]) * prod(weight_shape)
    if is_standard(node, "Gemm"):
        return output[0] * prod(weight_shape)
    return prod(output) * (weight_shape[-2] if len(weight_shape) > 1 else weight_shape[0])
