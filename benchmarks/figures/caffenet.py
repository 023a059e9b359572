"""conv2 to conv5 of the AlexNet that SkimCaffe's authors pruned, with their weights: 88.6 to 95.1 % zeros.

Two figures for each number of threads: the layers as models of one Conv each, and inside the network, which
`onnxcomp.optimize` has rewritten. (Park et al., ICLR 2017; the model is ../shared/models/caffenet_sparse_convs.onnx.)
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import onnxcomp
from figures import SHARED, layers
from figures.effort import Request
from figures.figure import Column, Figure, Row
from figures.networks import MAX_ERROR
from figures.single_conv import ConvLayer, Measured, compare
from onnxcomp.bench import BenchResult, bench
from onnxcomp.calibration import data_for
from onnxcomp.errors import UsageError
from onnxcomp.report.text import count
from onnxcomp.runtime.session import session

MODEL = SHARED / "models" / "caffenet_sparse_convs.onnx"
NAMES = ("conv2", "conv3", "conv4", "conv5")
_SIDES: Mapping[str, int] = {"conv2": 27, "conv3": 13, "conv4": 13, "conv5": 13}
_TOGETHER = "conv2 to conv5"

IN_NETWORK = (
    Column("layer", "layer"),
    Column("dense_ms", "dense ms", ".3f"),
    Column("sparse_ms", "onnxcomp ms", ".3f"),
    Column("speedup", "speedup", "x"),
)


def measure(request: Request, path: Path = MODEL) -> Iterator[Figure]:
    """The two figures for each number of threads. Raises UsageError where the model is not there."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; caffenet measures a model that lies beside the checkout")
    for threads in request.threads:
        yield _alone(path, threads, request)
        yield _in_network(path, threads, request)


def _alone(path: Path, threads: int, request: Request) -> Figure:
    found = {
        layer.name: compare(layer, weight, "unstructured", threads, request.effort) for layer, weight in _convs(path)
    }
    rows = (*(layers.row(name, one) for name, one in found.items()), _sum(list(found.values())))
    faults = tuple(one.fault for one in found.values() if one.fault)
    title = f"caffenet, each layer a model of its own, {count(threads, 'thread')}, batch 1"
    return Figure("caffenet", title, layers.COLUMNS, rows, (layers.WHAT,), faults)


def _convs(path: Path) -> Iterator[tuple[ConvLayer, NDArray[np.float32]]]:
    """conv2 to conv5: their geometry and (C_out, C_in / group, kh, kw) weights."""
    graph = onnx.load(path).graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.name in NAMES:
            given = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
            weight, group = weights[node.input[1]], given.get("group", 1)
            c_out, c_in, kernel, _ = weight.shape
            layer = ConvLayer(
                node.name, c_in * group, c_out, _SIDES[node.name], kernel, group=group, pad=given["pads"][0]
            )
            yield layer, weight


def _sum(found: list[Measured]) -> Row:
    """All layers one after the other."""
    dense, sparse = sum(one.dense_ms for one in found), sum(one.sparse_ms for one in found)
    dense_node, sparse_node = sum(one.dense_node_ms for one in found), sum(one.sparse_node_ms for one in found)
    return {
        "layer": _TOGETHER,
        "dense_ms": dense,
        "sparse_ms": sparse,
        "speedup": dense / sparse,
        "dense_node_ms": dense_node,
        "sparse_node_ms": sparse_node,
        "node_speedup": dense_node / sparse_node,
    }


def _in_network(path: Path, threads: int, request: Request) -> Figure:
    effort = request.effort
    with tempfile.TemporaryDirectory(prefix="onnxcomp-") as folder:
        target = Path(folder) / path.name
        onnxcomp.optimize(path, target, threads=threads)
        data = data_for(session(path, threads), None)
        result = bench(
            [path, target],
            data,
            threads=threads,
            seconds=effort.seconds,
            min_rounds=effort.min_rounds,
            max_error=MAX_ERROR,
            layers=True,
        )
    note = result.models[1].note
    title = f"caffenet, inside the network (nodes alone; the network whole), {count(threads, 'thread')}, batch 1"
    faults = (f"{title}: {note}",) if note else ()
    return Figure("caffenet-network", title, IN_NETWORK, tuple(_network_rows(result)), (), faults)


def _network_rows(result: BenchResult) -> Iterator[Row]:
    assert result.layers is not None
    times = {row.name: row.ms for row in result.layers.layers if row.name in NAMES}
    for name, (dense, sparse) in times.items():
        yield _network_row(name, dense or 0.0, sparse or 0.0)
    yield _network_row(_TOGETHER, *(sum(ms[side] or 0.0 for ms in times.values()) for side in (0, 1)))
    dense_model, ours = result.models
    yield {
        "layer": "the network",
        "dense_ms": dense_model.median_ms,
        "sparse_ms": ours.median_ms,
        "speedup": ours.speedup,
    }


def _network_row(name: str, dense_ms: float, sparse_ms: float) -> Row:
    speedup = dense_ms / sparse_ms if sparse_ms else None
    return {"layer": name, "dense_ms": dense_ms, "sparse_ms": sparse_ms, "speedup": speedup}
