"""What follows a layer and can go into one operator with it: a residual Add, then an activation.

Read from the graph as exporters write it: Relu, Clip (bounds as attributes or constants), LeakyRelu, Sigmoid, HardSwish
as one node or x * HardSigmoid(x, 1/6, 1/2), and SiLU as x * Sigmoid(x). Every tensor between the nodes must be read by
nobody else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from onnxcomp.convolution import is_standard
from onnxcomp.model import Model

_LARGEST = float(np.finfo(np.float32).max)  # stands for an absent bound of Clip


@dataclass(frozen=True, eq=False)
class Epilogue:
    """The nodes after a layer that are taken in, and what they compute."""

    nodes: tuple[gs.Node, ...] = ()
    residual: str = ""  # the name of the tensor added, "" for none
    activation: str = ""  # a name of formats.activation.ACTIVATIONS
    attributes: Mapping[str, float] = field(default_factory=dict)


def find_epilogue(graph: Model, conv: gs.Node, taken: set[int]) -> Epilogue:
    """The longest epilogue after `conv`. Nodes whose id is in `taken` belong to another convolution."""
    tensor = conv.outputs[0]
    nodes: tuple[gs.Node, ...] = ()
    residual = ""
    add = _only_reader(graph, tensor, taken)
    if add is not None and is_standard(add, "Add"):
        other = add.inputs[1] if add.inputs[0] is tensor else add.inputs[0]
        if other is not tensor and _same_shape(tensor, other) and graph.constant(other) is None:
            nodes, residual, tensor = (add,), other.name, add.outputs[0]
    found, name, attributes = _activation(graph, tensor, taken)
    return Epilogue((*nodes, *found), residual, name, attributes)


def find_activation(graph: Model, tensor: gs.Tensor, taken: set[int]) -> Epilogue:
    """The activation of `tensor` alone. Nodes whose id is in `taken` belong to another layer."""
    nodes, name, attributes = _activation(graph, tensor, taken)
    return Epilogue(nodes, "", name, attributes)


_Activation = tuple[tuple[gs.Node, ...], str, dict[str, float]]
_NOTHING: _Activation = ((), "", {})


def _activation(graph: Model, tensor: gs.Tensor, taken: set[int]) -> _Activation:
    node = _only_reader(graph, tensor, taken)
    if node is None:
        return _gated(graph, tensor, taken)
    if is_standard(node, "Relu", "Sigmoid", "HardSwish"):
        return (node,), node.op, {}
    if is_standard(node, "LeakyRelu"):
        return (node,), "LeakyRelu", {"alpha": float(node.attrs.get("alpha", 0.01))}
    if is_standard(node, "Clip"):
        bounds = _clip_bounds(graph, node)
        return ((node,), "Clip", bounds) if bounds else _NOTHING
    return _NOTHING


def _gated(graph: Model, tensor: gs.Tensor, taken: set[int]) -> _Activation:
    """x * gate(x): two readers of x, the gate and the product."""
    if len(tensor.outputs) != 2 or graph.is_interface(tensor) or graph.is_captured(tensor):
        return _NOTHING
    gate = next((n for n in tensor.outputs if is_standard(n, "Sigmoid", "HardSigmoid")), None)
    product = next((n for n in tensor.outputs if is_standard(n, "Mul")), None)
    if gate is None or product is None or _only_reader(graph, gate.outputs[0], taken) is not product:
        return _NOTHING
    if id(gate) in taken or id(product) in taken:
        return _NOTHING
    if gate.op == "Sigmoid":
        return (gate, product), "Silu", {}
    alpha, beta = (float(gate.attrs.get(k, v)) for k, v in (("alpha", 0.2), ("beta", 0.5)))
    if abs(alpha - 1 / 6) > 1e-6 or beta != 0.5:
        return _NOTHING
    return (gate, product), "HardSwish", {}


def _only_reader(graph: Model, tensor: gs.Tensor, taken: set[int]) -> gs.Node | None:
    if len(tensor.outputs) != 1 or graph.is_interface(tensor) or graph.is_captured(tensor):
        return None
    return None if id(tensor.outputs[0]) in taken else tensor.outputs[0]


def _same_shape(a: gs.Tensor, b: gs.Tensor) -> bool:
    """True where inference proves one shape: sizes or symbols, all known."""
    known = a.shape is not None and b.shape is not None and None not in a.shape and None not in b.shape
    return known and list(a.shape) == list(b.shape)


def _clip_bounds(graph: Model, node: gs.Node) -> dict[str, float] | None:
    """Bounds, from attributes before opset 11 and from inputs since; None where they are not constants."""
    if graph.opset < 11:
        low, high = node.attrs.get("min", -_LARGEST), node.attrs.get("max", _LARGEST)
        return {"clip_min": float(low), "clip_max": float(high)}
    bounds = {}
    for i, (name, default) in enumerate((("clip_min", -_LARGEST), ("clip_max", _LARGEST)), start=1):
        if len(node.inputs) <= i or node.inputs[i].is_empty():
            bounds[name] = default
            continue
        value = graph.constant(node.inputs[i])
        if value is None or value.size != 1 or np.isnan(value).any():
            return None
        bounds[name] = float(value.ravel()[0])
    return bounds
