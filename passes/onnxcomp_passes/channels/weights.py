"""Nodes with weights as what they do with channels."""

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.convolution import why_unknown
from onnxcomp.model import Model
from onnxcomp_passes.channels.flow import Flow, channels_of, sliceable
from onnxcomp_passes.channels.layer import Layer


def read_conv(model: Model, node: gs.Node) -> Flow | str:
    """A Conv of one group or more."""
    weight = sliceable(model, node.inputs[1])
    if isinstance(weight, str):
        return weight
    x, y = node.inputs[0], node.outputs[0]
    group = int(node.attrs.get("group", 1))
    if weight.ndim < 3 or group < 1 or (channels_of(x), channels_of(y)) != (weight.shape[1] * group, weight.shape[0]):
        return _misfit(weight)
    if weight.shape[0] % group:
        return f"{weight.shape[0]} output channels do not divide into {group} groups"
    bias = _bias(model, node, weight.shape[0])
    if isinstance(bias, str):
        return bias
    return _layer(node, weight, (0, 1), bias, group=group, border=_border(node, weight.shape[2:]))


def read_conv_transpose(model: Model, node: gs.Node) -> Flow | str:
    """A ConvTranspose of one group."""
    weight = sliceable(model, node.inputs[1])
    if isinstance(weight, str):
        return weight
    if int(node.attrs.get("group", 1)) != 1:
        return "is a transposed convolution of several groups"
    if weight.ndim < 3 or (channels_of(node.inputs[0]), channels_of(node.outputs[0])) != weight.shape[:2]:
        return _misfit(weight)
    bias = _bias(model, node, weight.shape[1])
    if isinstance(bias, str):
        return bias
    return _layer(node, weight, (1, 0), bias, border="spreads it unevenly, being transposed")


def read_gemm(model: Model, node: gs.Node) -> Flow | str:
    """A Gemm whose first input is not transposed."""
    weight = sliceable(model, node.inputs[1])
    if isinstance(weight, str):
        return weight
    if node.attrs.get("transA", 0):
        return "its first input is transposed"
    axes = (0, 1) if node.attrs.get("transB", 0) else (1, 0)
    if not _fits(node, weight, axes):
        return _misfit(weight)
    bias = _bias(model, node, weight.shape[axes[0]])
    if isinstance(bias, str):
        return bias
    bias *= float(node.attrs.get("beta", 1.0))
    return _layer(node, weight, axes, bias, scale=float(node.attrs.get("alpha", 1.0)))


def read_matmul(model: Model, node: gs.Node) -> Flow | str:
    """A MatMul of a matrix and a constant one."""
    weight = sliceable(model, node.inputs[1])
    if isinstance(weight, str):
        return weight
    if not _fits(node, weight, (1, 0)):
        return _misfit(weight)
    return _layer(node, weight, (1, 0), np.zeros(weight.shape[1]), biased=False)


def _layer(
    node: gs.Node,
    weight: NDArray[Any],
    axes: tuple[int, int],
    bias: NDArray[np.float64],
    *,
    group: int = 1,
    scale: float = 1.0,
    border: str | None = None,
    biased: bool = True,
) -> Layer:
    """A layer of `weight` with its channels along `axes`."""
    rows = np.moveaxis(weight, axes, (0, 1))
    by_group = rows.reshape(group, -1, *rows.shape[1:])
    connected = (by_group != 0).any(axis=tuple(range(3, by_group.ndim)))
    return Layer(node, (node.inputs[0],), node.outputs[0], by_group, axes, bias, scale, border, biased, connected)


def _bias(model: Model, node: gs.Node, outputs: int) -> NDArray[np.float64] | str:
    """The third input as b (C_out), zeros where there is none."""
    if len(node.inputs) < 3 or node.inputs[2].is_empty():
        return np.zeros(outputs)
    value = model.constant(node.inputs[2])
    if value is None:
        return f"bias: {why_unknown(model, node.inputs[2])}"
    if not (value.size == 1 or (value.size == outputs and value.shape[-1] == outputs)):
        return f"bias has the shape {list(value.shape)}, the layer {outputs} outputs"
    if not np.isfinite(value).all():
        return f"'{node.inputs[2].name}' holds NaN or Inf"
    return np.broadcast_to(value.reshape(-1), (outputs,)).astype(np.float64)


def _fits(node: gs.Node, weight: NDArray[Any], axes: tuple[int, int]) -> bool:
    """Whether `weight` is a matrix for the matrices the node reads and writes."""
    x, y = node.inputs[0], node.outputs[0]
    if weight.ndim != 2 or len(y.shape) != 2 or not channels_of(x) or len(x.shape) != 2:
        return False
    return (channels_of(y), channels_of(x)) == (weight.shape[axes[0]], weight.shape[axes[1]])


def _border(node: gs.Node, kernel: tuple[int, ...]) -> str | None:
    """Why a constant input would not give a constant output. SAME pads nothing around a kernel of one pixel."""
    same = str(node.attrs.get("auto_pad", "NOTSET")).startswith("SAME")
    if np.any(node.attrs.get("pads", 0)) or (same and max(kernel) > 1):
        return "pads it with zeros"
    return None


def _misfit(weight: NDArray[Any]) -> str:
    return f"weight of shape {list(weight.shape)} on channels that are not known or others"
