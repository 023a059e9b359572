"""A network's channels: what each node does with them, which are constant, which have to stay and why."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_graphsurgeon as gs

from onnxcomp.convolution import label
from onnxcomp.model import Model
from onnxcomp.model.topology import living, ordered
from onnxcomp_passes.channels.constants import constant_values
from onnxcomp_passes.channels.flow import Edit, Flow, Read, Values, channels_of
from onnxcomp_passes.channels.kept import Kept, keep_needed
from onnxcomp_passes.channels.reading import read_flow


@dataclass(frozen=True, eq=False)
class Channels:
    """The channels of a network."""

    nodes: Sequence[gs.Node]  # those that an output depends on, in topological order
    flows: Mapping[int, Flow | str]  # by id of the node, in that order; or why its tensors must stay whole
    values: Mapping[str, Values]
    kept: Kept

    @cached_property
    def shrinking(self) -> frozenset[str]:
        """The tensors that have channels to lose."""
        return frozenset(name for name, mask in self.kept.items() if not mask.all())

    def edits(self, nodes: Iterable[gs.Node]) -> dict[int, Edit]:
        """What changes at each of `nodes`, by id; nodes at which nothing does are left out."""
        flows = [self.flows[id(node)] for node in nodes if self.shrinks(node)]
        return {id(flow.node): flow.edit(self.kept, self.values) for flow in flows if isinstance(flow, Flow)}

    def shrinks(self, node: gs.Node) -> bool:
        """Whether `node` reads or writes a tensor that loses channels."""
        return any(tensor.name in self.shrinking for tensor in (*node.inputs, *node.outputs))


def analyse(model: Model, align: int) -> Channels:
    """The channels of `model`. Numbers of channels stay multiples of `align` as far as they go down."""
    model.infer_shapes()
    alive = {id(node) for node in living(model.graph)}
    nodes = [node for node in ordered(model.graph) if id(node) in alive]
    flows = {id(node): read_flow(model, node) for node in nodes}
    tensors = (*model.graph.inputs, *(tensor for node in nodes for tensor in (*node.inputs, *node.outputs)))
    channels = {tensor.name: count for tensor in tensors if (count := channels_of(tensor))}
    known = [flow for flow in flows.values() if isinstance(flow, Flow)]
    values = constant_values(known, channels)
    kept = Kept(channels, known)
    keep_needed(kept, _pins(model, nodes, flows), known, values, align)
    return Channels(nodes, flows, values, kept)


def _pins(model: Model, nodes: list[gs.Node], flows: Mapping[int, Flow | str]) -> Iterator[Read]:
    """Tensors that keep all their channels, for somebody may count on them."""
    for port in (*model.graph.inputs, *model.graph.outputs):
        yield from _whole(port, f"'{port.name}' is an input or output of the model")
    for node in nodes:
        flow = flows[id(node)]
        if isinstance(flow, str):
            for tensor in (*node.inputs, *node.outputs):
                yield from _whole(tensor, f"'{label(node)}' ({node.op}) {flow}")
        for tensor in node.outputs:
            if model.is_captured(tensor):
                yield from _whole(tensor, f"'{tensor.name}' is read inside an If, Loop or Scan body")


def _whole(tensor: gs.Tensor, reason: str) -> Iterator[Read]:
    if channels_of(tensor):
        yield Read(tensor.name, np.ones(channels_of(tensor), np.bool_), reason)
