"""From how many zeros on the sparse kernel beats ORT's dense Conv, layer class by layer class.

Both are taken as nodes in ORT's profile, without the conversions that ORT puts around a lone dense Conv. Zeros are
random; sparsity is the share of weights that are zero.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from onnxcomp.cost.measure import conv_ms, node_times
from onnxcomp.formats import bitmap, functions, sparse_conv

MOST_ZEROS = 0.98
_STEPS = 5  # halvings of the range: to 3 points of sparsity
_TYPICAL = 0.9
_OPSET = 13


@dataclass(frozen=True)
class LayerClass:
    """A Conv of stride 1 that keeps its map's `side`, as networks have them."""

    kernel: int
    c_in: int
    c_out: int
    side: int

    def __str__(self) -> str:
        channels = f"{self.c_in}" if self.c_in == self.c_out else f"{self.c_in}-{self.c_out}"
        return f"{self.kernel}x{self.kernel} {channels}@{self.side}"


LAYERS = (
    LayerClass(3, 64, 64, 56),
    LayerClass(3, 128, 128, 28),
    LayerClass(3, 256, 256, 14),
    LayerClass(3, 512, 512, 7),
    LayerClass(1, 64, 256, 56),
    LayerClass(1, 512, 128, 28),
    LayerClass(1, 256, 1024, 14),
)


@dataclass(frozen=True)
class BreakEven:
    """`sparsity`: where the sparse kernel draws level, None where it does not up to `MOST_ZEROS`."""

    layer: str
    sparsity: float | None
    dense_ms: float
    speedup_at_90: float


def break_even(layer: LayerClass, threads: int) -> BreakEven:
    """Measure one layer class: a bisection, a fraction of a second a step. Needs the extension library."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, layer.c_in, layer.side, layer.side), np.float32)
    weight = rng.standard_normal((layer.c_out, layer.c_in, layer.kernel, layer.kernel), np.float32)
    ranks = rng.permutation(weight.size).reshape(weight.shape)  # weights of rank below a bound become zero

    def dense_and_sparse_ms(sparsity: float) -> tuple[float, float]:
        zeros = np.where(ranks < sparsity * weight.size, np.float32(0), weight)
        models = [dense_model(layer, weight), sparse_model(layer, zeros)]
        dense, sparse = node_times(models, {"X": x}, threads)
        return conv_ms(dense), conv_ms(sparse)

    dense_ms, typical_ms = dense_and_sparse_ms(_TYPICAL)
    low, high = 0.0, MOST_ZEROS
    if typical_ms < dense_ms:
        high = _TYPICAL
    elif not _faster(dense_and_sparse_ms(high)):
        return BreakEven(str(layer), None, dense_ms, dense_ms / typical_ms)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if _faster(dense_and_sparse_ms(middle)) else (middle, high)
    return BreakEven(str(layer), round(high, 3), dense_ms, dense_ms / typical_ms)


def _faster(dense_and_sparse_ms: tuple[float, float]) -> bool:
    dense_ms, sparse_ms = dense_and_sparse_ms
    return sparse_ms < dense_ms


def dense_model(layer: LayerClass, weight: NDArray[np.float32]) -> bytes:
    """One Conv, X -> Y, with a bias of zeros."""
    node = helper.make_node("Conv", ["X", "W", "B"], ["Y"], **_geometry(layer))
    return _model(layer, node, {"W": weight}, [])


def sparse_model(layer: LayerClass, weight: NDArray[np.float32]) -> bytes:
    """The same as one SparseConv, with its function, so that it loads with or without the library."""
    plain = sparse_conv.Epilogue()
    stored = bitmap.encode(weight)
    node = sparse_conv.node(plain, ["X", "mask", "values", "B"], "Y", weight.shape, **_geometry(layer))
    constants = {"mask": stored.mask, "values": stored.values}
    return _model(layer, node, constants, [sparse_conv.function(plain, _OPSET)])


def _geometry(layer: LayerClass) -> dict[str, Any]:
    return {"pads": [layer.kernel // 2] * 4, "kernel_shape": [layer.kernel] * 2}


def _model(
    layer: LayerClass, node: NodeProto, constants: dict[str, NDArray[Any]], bodies: list[FunctionProto]
) -> bytes:
    constants = {**constants, "B": np.zeros(layer.c_out, np.float32)}
    shapes = {"X": [1, layer.c_in, layer.side, layer.side], "Y": [1, layer.c_out, layer.side, layer.side]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    graph = helper.make_graph(
        [node], "layer", [x], [y], [numpy_helper.from_array(value, name) for name, value in constants.items()]
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(functions.DOMAIN, functions.DOMAIN_VERSION)]
    model = helper.make_model(graph, opset_imports=opsets, functions=bodies, ir_version=functions.MIN_IR)
    return bytes(model.SerializeToString())
