"""Pieces of a network, timed with ONNX Runtime's threads awake, as they are inside the network.

When a run begins, all threads but one sleep, and whatever comes first pays for waking them, which a small layer inside
a network does not. So a product of zeros goes first and is not counted.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from onnxcomp.cost.measure import RunNode, node_rounds
from onnxcomp.runtime.session import Feed, default_threads

_OWN = "onnxcomp waking"  # what names of nodes and tensors begin with
_SIDE = 128  # of the square matrix: a product large enough for ORT to share it out among many threads
_BROADCASTS = 7  # from this opset on, Add does


def times_inside(
    models: Sequence[bytes],
    feed: Feed,
    threads: int | None = None,
    rounds: int = 20,
    library: bool = True,
) -> list[dict[RunNode, float]]:
    """`node_times` of models that stand for pieces of a network.

    A model that reads no float32, or is older than opset 7, is timed as it is. Raises ModelError as `node_times` does.
    """
    found = rounds_inside(models, feed, threads, rounds, library)
    return [{node: float(np.median(ms)) for node, ms in one.items()} for one in found]


def rounds_inside(
    models: Sequence[bytes],
    feed: Feed,
    threads: int | None = None,
    rounds: int = 20,
    library: bool = True,
    hopeless: float = math.inf,
) -> list[dict[RunNode, NDArray[np.float64]]]:
    """The same round by round, `hopeless` as for `node_rounds`."""
    if (threads or default_threads()) == 1:
        return node_rounds(models, feed, threads, rounds, library, hopeless)
    asleep = {_asleep(name): array for name, array in feed.items()}
    waking = {_OWN: np.zeros((_SIDE, _SIDE), np.float32)}
    every = {**feed, **asleep, **waking}
    found = node_rounds(list(map(woken, models)), every, threads, rounds, library, hopeless)
    return [{node: ms for node, ms in one.items() if not node.name.startswith(_OWN)} for one in found]


def woken(model: bytes) -> bytes:
    """`model` with a product of zeros added to every float32 input, so that nothing that reads one runs before it."""
    proto = ModelProto.FromString(model)
    graph = proto.graph
    inputs = [port for port in graph.input if port.type.tensor_type.elem_type == TensorProto.FLOAT]
    opset = next((one.version for one in proto.opset_import if not one.domain), _BROADCASTS)
    if not inputs or opset < _BROADCASTS:
        return model
    product, zero = f"{_OWN} product", f"{_OWN} zero"
    first = [
        helper.make_node("MatMul", [_OWN, _OWN], [product], product),
        helper.make_node("ReduceMin", [product], [zero], zero, keepdims=0),
    ]
    for port in inputs:
        name, port.name = port.name, _asleep(port.name)
        first.append(helper.make_node("Add", [port.name, zero], [name], port.name))
    nodes = [*first, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.input.append(helper.make_tensor_value_info(_OWN, TensorProto.FLOAT, [_SIDE, _SIDE]))
    return bytes(proto.SerializeToString())


def _asleep(name: str) -> str:
    return f"{_OWN}: {name}"
