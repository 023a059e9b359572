"""Pieces of a network, timed between nodes in ONNX Runtime's blocked layout, as its convolutions are inside it.

Alone, a piece reads and writes NCHW: ONNX Runtime then converts its inputs and its output, which in a row of dense
convolutions it does not, and adds a residual in a pass of its own, which there it fuses into the Conv. Of a 3x3 Conv of
16 channels on 32x32 that is up to a third of the time. So what is in blocks in the network is made in blocks here, by a
Conv of one channel, and read by another.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

from onnxcomp.cost.layout import Layouts, Role
from onnxcomp.cost.measure import RunNode
from onnxcomp.fragment import Fragment
from onnxcomp.runtime.session import Feed

T = TypeVar("T")
Border = frozenset[str]
"""The names of inputs and outputs that are in blocks."""

_OWN = "onnxcomp around"  # what names of nodes and tensors begin with
_FEW = 8  # channels: no block is smaller


def border_of(fragment: Fragment, layouts: Layouts) -> Border:
    """What is in blocks where ONNX Runtime's Conv runs in `fragment` of the network that `layouts` tells of.

    As if all its neighbours were, too: what those in NCHW cost is added where layouts are chosen (borders.py).
    """
    roles = {node.output[0]: layouts.role_of(node.output[0]) for node in fragment.nodes}
    if not {Role.BLOCKED, Role.ENTERS} & set(roles.values()):
        return frozenset()
    readers = [node for node in fragment.nodes if roles[node.output[0]] in (Role.BLOCKED, Role.FOLLOWS)]
    read = {name for node in readers for name in node.input} & set(fragment.inputs)
    # Where there are several outputs, their conversions could not be told apart from others'.
    written = [name for name in fragment.outputs if len(fragment.outputs) == 1 and roles[name] is not Role.PLAIN]
    return frozenset((*read, *written))


def surrounded(model: bytes, border: Border) -> bytes:
    """`model` between the nodes that make `border` what it is."""
    proto = ModelProto.FromString(model)
    graph = proto.graph
    made = [node for port in graph.input if port.name in border for node in _maker(graph, port)]
    read = [_reader(graph, port) for port in graph.output if port.name in border]
    nodes = [*made, *graph.node, *read]
    del graph.node[:]
    graph.node.extend(nodes)
    return bytes(proto.SerializeToString())


def fed(feed: Feed, border: Border) -> Feed:
    """`feed`, and beside it what models surrounded by `border` read."""
    return {**feed, **{_own(name): array[:, :1].copy() for name, array in feed.items() if name in border}}


def inner(times: Mapping[RunNode, T]) -> dict[RunNode, T]:
    """Of the nodes of a surrounded model, in the order in which they run, those of the model itself."""
    nodes = list(times)
    around = [node for node in nodes if node.name.startswith(_OWN)]
    end = nodes.index(around[-1]) if around and around[-1].name.startswith(_own("reader")) else len(nodes)
    return {node: times[node] for node in nodes[:end] if node not in around}


def _maker(graph: GraphProto, port: ValueInfoProto) -> Iterator[NodeProto]:
    """A Conv in place of the input, whose Relu keeps ONNX Runtime from fusing a sum into it."""
    name, channel = port.name, port.type.tensor_type.shape.dim[1]
    port.name = _own(name)
    weight, inside, outside = (f"{port.name} {what}" for what in ("weight", "linear", "blocks"))
    graph.initializer.append(numpy_helper.from_array(np.ones((channel.dim_value, 1, 1, 1), np.float32), weight))
    channel.dim_value = 1
    for node in graph.node:
        node.input[:] = [outside if one == name else one for one in node.input]
    yield helper.make_node("Conv", [port.name, weight], [inside], inside)
    yield helper.make_node("Relu", [inside], [outside], outside)


def _reader(graph: GraphProto, port: ValueInfoProto) -> NodeProto:
    """A Conv to few channels, and the output in place of that of the model."""
    name, channel = port.name, port.type.tensor_type.shape.dim[1]
    port.name = f"{_own('reader')} of {name}"
    weight = f"{port.name} weight"
    graph.initializer.append(numpy_helper.from_array(np.ones((_FEW, channel.dim_value, 1, 1), np.float32), weight))
    channel.dim_value = _FEW
    return helper.make_node("Conv", [name, weight], [port.name], port.name)


def _own(name: str) -> str:
    return f"{_OWN}: {name}"
