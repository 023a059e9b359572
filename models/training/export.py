"""A trained network as ONNX: (N, H, W, C) becomes (N, C, H, W), BatchNormalization stays a node of its own."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from training.layers import BatchNorm, Conv, Dropout, Gemm, GlobalAveragePool, Layer, MaxPool, Relu
from training.loop import Network
from zoo.graph import GraphWriter


def to_onnx(network: Network, name: str, size: int, classes: int, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """The network for images of one channel, `size` by `size`; an Identity ends it, as exporters leave them."""
    graph = GraphWriter(1, size, size)
    x = "input"
    for layer in network.layers:
        x = _emit(graph, layer, x)
    graph.node("Identity", [x])
    return graph.finish(name, classes, metadata)


def _emit(graph: GraphWriter, layer: Layer, x: str) -> str:
    match layer:
        case Conv():
            taps = layer.weight.value.reshape(layer.kernel, layer.kernel, layer.channels, -1)
            geometry = {"kernel_shape": [layer.kernel] * 2, "pads": [layer.kernel // 2] * 4}
            return graph.node("Conv", [x], {"weight": taps.transpose(3, 2, 0, 1)}, geometry)
        case BatchNorm():
            arrays = {
                "scale": layer.scale.value,
                "shift": layer.shift.value,
                "mean": layer.mean,
                "variance": layer.variance,
            }
            return graph.node("BatchNormalization", [x], arrays, {"epsilon": layer.epsilon})
        case Relu():
            return graph.node("Relu", [x])
        case MaxPool():
            return graph.node("MaxPool", [x], attributes={"kernel_shape": [2, 2], "strides": [2, 2]})
        case GlobalAveragePool():
            pooled = graph.node("GlobalAveragePool", [x])
            return graph.node("Flatten", [pooled], attributes={"axis": 1})
        case Dropout():
            return graph.node("Dropout", [x], {"ratio": layer.share})
        case Gemm():
            arrays = {"weight": layer.weight.value.T, "bias": layer.bias.value}
            return graph.node("Gemm", [x], arrays, {"transB": 1})
    raise TypeError(f"no ONNX form of {type(layer).__name__}")
