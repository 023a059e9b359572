"""Which convolutions leave ONNX Runtime's blocked layout, when every conversion that this causes is counted.

A Conv is either in blocks, where ONNX Runtime's dense kernel runs, or in NCHW, where operators of other domains do. One
choice concerns its neighbours: wherever a tensor passes from one layout to the other it is converted, once for all
its readers. The cheapest set of choices is a minimum cut between the two layouts, with blocks on the source's side:

    a Conv              source -> it: its time in NCHW; it -> sink: its time in blocks
    a tensor's readers  maker -> t: time to NCHW; t -> each reader: never
                        t' -> maker: time to blocks; each reader -> t': never
    what follows        it -> each input: never (one input in NCHW is enough to leave the blocks)
    what is fused       its Conv -> it: a pass over the tensor (a Conv in blocks takes only blocks in)
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from onnxcomp.context import Context
from onnxcomp.cost.layout import Layouts, Role
from onnxcomp.cost.reorders import Reorder
from onnxcomp.numerics.cut import Cut


@dataclass(frozen=True, eq=False)
class Choice:
    """A Conv that can be in either layout, what is fused into it, and what they take together in each."""

    conv: gs.Node
    fused: tuple[gs.Node, ...]
    blocks_ms: float
    nchw_ms: float


@dataclass(frozen=True)
class _Edge:
    """A tensor that may have to be converted: its shape, and the cut's names for its maker and its readers."""

    shape: tuple[int, ...]
    maker: Hashable
    readers: frozenset[Hashable]


def leaving(context: Context, layouts: Layouts, choices: Sequence[Choice]) -> list[bool]:
    """For each choice, whether its Conv is better off in NCHW. Each Conv is BLOCKED or ENTERS in `layouts`."""
    cut = conversions(context, layouts, [(choice.conv, choice.fused) for choice in choices])
    for choice in choices:
        cut.add(Cut.SOURCE, id(choice.conv), choice.nchw_ms)
        cut.add(id(choice.conv), Cut.SINK, choice.blocks_ms)
    plain = cut.on_sinks_side()
    return [id(choice.conv) in plain for choice in choices]


def conversions(context: Context, layouts: Layouts, open_: Sequence[tuple[gs.Node, Sequence[gs.Node]]]) -> Cut:
    """What conversions cost wherever Convs are that can be in either layout, each with what is fused into it.

    They are called by the identity of their node; NCHW is the side of the sink.
    """
    names = _Names(layouts, {id(conv) for conv, _ in open_})
    edges = _edges(context, names) if open_ else []
    reorders = context.reorder_times({edge.shape for edge in edges})
    cut = Cut()
    for conv, fused in open_:
        for node in fused:
            shape = context.shapes.get(node.outputs[0].name, ())
            cut.add(id(conv), names.writes(node), reorders[shape].to_nchw_ms if shape in reorders else 0.0)
    for number, edge in enumerate(edges):
        _add_conversions(cut, edge, number, reorders[edge.shape])
    for node in context.model.graph.nodes:
        if layouts.role(node) is Role.FOLLOWS:
            _add_follower(cut, names, node)
    return cut


class _Names:
    """What the cut calls the two ends of a node: itself where its layout is open, else the side that it is on."""

    def __init__(self, layouts: Layouts, open_: set[int]) -> None:
        self.layouts = layouts
        self._open = open_

    def writes(self, node: gs.Node) -> Hashable:
        role = self.layouts.role(node)
        if role is Role.PLAIN:
            return Cut.SINK
        return id(node) if role is Role.FOLLOWS or id(node) in self._open else Cut.SOURCE

    def reads(self, node: gs.Node) -> Hashable:
        return Cut.SINK if self.layouts.role(node) is Role.ENTERS else self.writes(node)

    def maker(self, tensor: gs.Tensor) -> Hashable:
        return self.writes(tensor.inputs[0]) if tensor.inputs else Cut.SINK


def _edges(context: Context, names: _Names) -> list[_Edge]:
    """Every tensor of a known shape whose maker and readers are not all on one fixed side."""
    model = context.model
    read: dict[int, set[Hashable]] = {id(tensor): {Cut.SINK} for tensor in model.graph.outputs}
    tensors: dict[int, gs.Tensor] = {id(tensor): tensor for tensor in model.graph.outputs}
    for node in model.graph.nodes:
        for tensor in names.layouts.data_inputs(node):
            tensors[id(tensor)] = tensor
            read.setdefault(id(tensor), set()).add(names.reads(node))
    edges = [
        _Edge(context.shapes.get(tensor.name, ()), names.maker(tensor), frozenset(read[key]))
        for key, tensor in tensors.items()
    ]
    return [edge for edge in edges if len(edge.shape) == 4 and len({edge.maker, *edge.readers}) > 1]


def _add_conversions(cut: Cut, edge: _Edge, number: int, times: Reorder) -> None:
    to_nchw, to_blocks = ("to nchw", number), ("to blocks", number)
    cut.add(edge.maker, to_nchw, times.to_nchw_ms)
    cut.add(to_blocks, edge.maker, times.to_blocks_ms)
    for reader in edge.readers:
        cut.add(to_nchw, reader, math.inf)
        cut.add(reader, to_blocks, math.inf)


def _add_follower(cut: Cut, names: _Names, node: gs.Node) -> None:
    makers = [names.maker(tensor) for tensor in names.layouts.data_inputs(node)]
    for maker in makers:
        cut.add(id(node), maker, math.inf)
    if len(makers) == 1:
        cut.add(makers[0], id(node), math.inf)
