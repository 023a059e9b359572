"""The parts of a network that can be shrunk one by one."""

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_graphsurgeon as gs
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from onnxcomp_passes.channels.analysis import Channels
from onnxcomp_passes.channels.flow import Flow


def parts_of(channels: Channels) -> list[tuple[gs.Node, ...]]:
    """Nodes around tensors that lose channels, in topological order, by what hangs together.

    A part has all that its constants are worked out from: run alone, on any inputs, it gives what it gives in the
    network.
    """
    members = [flow for flow in channels.flows.values() if isinstance(flow, Flow)]
    links = _links(members, channels)
    members = [flow for flow in members if flow.output.name in links or channels.shrinks(flow.node)]
    groups: dict[int, list[gs.Node]] = {}
    for part, flow in zip(_connected(members, links), members, strict=True):
        groups.setdefault(part, []).append(flow.node)
    return [tuple(nodes) for nodes in groups.values()]


def _links(flows: Sequence[Flow], channels: Channels) -> frozenset[str]:
    """The tensors that lose channels, and those with constants that go into what is around them."""
    links = set(channels.shrinking)
    for flow in reversed(flows):
        if flow.output.name in links or channels.shrinks(flow.node):
            links.update(t.name for t in flow.inputs if not np.isnan(channels.values[t.name]).all())
    return frozenset(links)


def _connected(flows: Sequence[Flow], links: frozenset[str]) -> Iterable[int]:
    """For each flow a number that those have in common which one of `links` connects."""
    first: dict[str, int] = {}
    ends = [(i, t.name) for i, flow in enumerate(flows) for t in (*flow.inputs, flow.output) if t.name in links]
    pairs = np.array([(i, first.setdefault(name, i)) for i, name in ends], np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(len(flows), len(flows)))
    return [int(part) for part in connected_components(graph, directed=False)[1]] if flows else []
