"""Node times of several models side by side, put together layer by layer.

A layer is a node with a weight (Conv, Gemm, MatMul) of the first model. ONNX Runtime and our passes call what they make
of it

    Conv_1, or Conv_1_token_7   by the node's own name: our operators, quantised ones, anything that is not blocked
    fused Conv_1, Conv_1/...    the same, fused
    Relu_1.out_nchwc            by the last tensor that was fused into it: a Conv in the blocked layout

so a node belongs to the layer of its name, or else to the one behind whose output that tensor comes first. What has
neither name, the inside of a function that ran without our library, is a row of its own.
"""

import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs

from onnxcomp.convolution import WEIGHTED, is_standard, label
from onnxcomp.cost.measure import RunNode, node_times
from onnxcomp.model import Model
from onnxcomp.runtime.session import Feed

_WEIGHTED_RUN_OPS = ("Conv", "Gemm", "MatMul")  # in the name of any operator that is a layer, fused or quantised
_FUSABLE = (
    *("BatchNormalization", "Add", "Sub", "Mul", "Div", "Identity", "Dropout"),
    *("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish"),
)

Chains = Mapping[str, Sequence[str]]
"""For each layer, its output and the tensors behind it that may be fused into it, nearest first."""


@dataclass(frozen=True)
class Row:
    """Milliseconds of each model in a layer, or in all other nodes of one operator; None where it has none."""

    name: str
    ms: tuple[float | None, ...]

    def ratio(self, model: int) -> float | None:
        """How many times faster `model` is here than the first; None where one of them has no time."""
        base, other = self.ms[0], self.ms[model]
        return base / other if base and other else None


@dataclass(frozen=True)
class LayerTimes:
    """`layers` in the order they run, `other` by operator, largest first; `total_ms` of all nodes of each model."""

    layers: tuple[Row, ...]
    other: tuple[Row, ...]
    total: Row

    def to_json(self) -> dict[str, Any]:
        """The "layers" object of `bench --json`."""
        return asdict(self)


def layer_times(
    models: Sequence[str | Path],
    feed: Feed,
    threads: int | None = None,
    *,
    seconds: float = 2.0,
    min_rounds: int = 10,
    library: bool = True,
) -> LayerTimes:
    """Run `models` in turns on `feed` under ORT's profiler, and align their nodes by the layers of the first.

    Raises ModelError where a model cannot be read, loaded or run.
    """
    with tempfile.TemporaryDirectory(prefix="onnxcomp-") as folder:
        named = [_named(Path(path), Path(folder) / str(index)) for index, path in enumerate(models)]
        times = node_times([path for path, _ in named], feed, threads, min_rounds, seconds, library)
    return align(named[0][1], times)


def align(chains: Chains, times: Sequence[Mapping[RunNode, float]]) -> LayerTimes:
    """Put the `node_times` of several models together by the layers of `chains`; a layer only one has comes last."""
    owners = [_owners(nodes, chains) for nodes in times]
    found = [_summed(nodes, owner.get) for nodes, owner in zip(times, owners, strict=True)]
    rest = [
        _summed(nodes, lambda node, owner=owner: None if node in owner else node.op)  # type: ignore[misc]
        for nodes, owner in zip(times, owners, strict=True)
    ]
    other = sorted(_rows(rest), key=lambda row: -max(ms or 0.0 for ms in row.ms))
    return LayerTimes(tuple(_rows(found)), tuple(other), Row("total", tuple(sum(nodes.values()) for nodes in times)))


def chains_of(model: Model) -> dict[str, list[str]]:
    """Every layer's chain, by the layer's label."""
    return {label(node): _chain(model, node) for node in model.graph.nodes if is_standard(node, *WEIGHTED)}


def name_layers(model: Model) -> bool:
    """Call every unnamed node by its label, so that a profile can tell it from others; whether there was one."""
    unnamed = [node for node in model.graph.nodes if not node.name]
    for node in unnamed:
        node.name = label(node)
    return bool(unnamed)


def _named(path: Path, folder: Path) -> tuple[Path, dict[str, list[str]]]:
    """`path`, or where nodes have no names a copy in `folder` that gives them some; and the layers' chains."""
    model = Model.load(path)
    if name_layers(model):
        folder.mkdir()
        path = folder / path.name
        model.save(path)
    return path, chains_of(model)


def _chain(model: Model, node: gs.Node) -> list[str]:
    names = []
    while node.outputs:
        tensor = node.outputs[0]
        names.append(tensor.name)
        if len(tensor.outputs) != 1 or model.is_interface(tensor) or not is_standard(tensor.outputs[0], *_FUSABLE):
            break
        node = tensor.outputs[0]
    return names


def _owners(nodes: Iterable[RunNode], chains: Chains) -> dict[RunNode, str]:
    """The layer of every node with a weight; its own name where it belongs to none.

    Two layers whose sum is one tensor both reach it: the nearest takes it, and each takes one node only.
    """
    places = defaultdict(list)
    for layer, chain in chains.items():
        for distance, name in enumerate((layer, *chain)):
            places[name].append((distance, layer))
    weighted = [node for node in nodes if any(op in node.op for op in _WEIGHTED_RUN_OPS)]
    offers = [
        (*place, index)
        for index, node in enumerate(weighted)
        for name in _known_names(node.name)
        for place in places[name]
    ]
    owners: dict[RunNode, str] = {}
    taken: set[str] = set()
    for _, layer, index in sorted(offers):
        if layer not in taken and weighted[index] not in owners:
            owners[weighted[index]] = layer
            taken.add(layer)
    return {node: owners.get(node, node.name) for node in weighted}


def _known_names(name: str) -> set[str]:
    """What a node may have been called before ONNX Runtime changed its name."""
    return {name, re.sub(r"_nchwc$|_token_\d+$|^fused |/\w+Fusion/?$", "", name)}


def _summed(nodes: Mapping[RunNode, float], group: Callable[[RunNode], str | None]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for node, ms in nodes.items():
        if (name := group(node)) is not None:
            sums[name] += ms
    return sums


def _rows(columns: Sequence[Mapping[str, float]]) -> list[Row]:
    """A row for each name of any column, in the order of the first that has it."""
    names = dict.fromkeys(name for column in columns for name in column)
    return [Row(name, tuple(column.get(name) for column in columns)) for name in names]
