"""What ONNX Runtime's conversions between NCHW and its blocked layout take, measured by tensor shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from onnxcomp.cost.measure import RunNode
from onnxcomp.cost.waking import times_inside

Shape = tuple[int, ...]

_FEWEST = 16  # channels that make a Conv read blocks on every machine
_OPSET = 13


@dataclass(frozen=True)
class Reorder:
    """Milliseconds of the conversions of one tensor."""

    to_blocks_ms: float
    to_nchw_ms: float


def reorder_times(shapes: Sequence[Shape], threads: int | None) -> dict[Shape, Reorder]:
    """Measure the conversions of tensors of `shapes` (N, C, H, W), in turns."""
    feed = {_name(i): np.zeros(_rounded(shape), np.float32) for i, shape in enumerate(shapes)}
    models = [_there_and_back(_name(i), _rounded(shape)) for i, shape in enumerate(shapes)]
    times = times_inside(models, feed, threads, library=False)
    return {
        shape: Reorder(_of(nodes, "ReorderInput"), _of(nodes, "ReorderOutput"))
        for shape, nodes in zip(shapes, times, strict=True)
    }


def _of(nodes: Mapping[RunNode, float], op: str) -> float:
    return sum(ms for node, ms in nodes.items() if node.op == op)


def _name(index: int) -> str:
    return f"x{index}"


def _rounded(shape: Shape) -> Shape:
    """With as many channels as the conversion fills up to."""
    return (shape[0], -(-shape[1] // _FEWEST) * _FEWEST, *shape[2:])


def _there_and_back(name: str, shape: Shape) -> bytes:
    """Two 1x1 convolutions, to a block of channels and back: a conversion before, another after."""
    weights = {
        "to_few": np.zeros((_FEWEST, shape[1], 1, 1), np.float32),
        "to_many": np.zeros((shape[1], _FEWEST, 1, 1), np.float32),
    }
    nodes = [
        helper.make_node("Conv", [name, "to_few"], ["few"]),
        helper.make_node("Conv", ["few", "to_many"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(port, TensorProto.FLOAT, shape) for port in (name, "y"))
    constants = [numpy_helper.from_array(value, key) for key, value in weights.items()]
    graph = helper.make_graph(nodes, "reorders", [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    return bytes(model.SerializeToString())
