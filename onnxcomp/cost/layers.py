"""Layers as networks have them, each as a model of one node: what the machine's profile is measured on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from onnxcomp.cost.skimcaffe import Work
from onnxcomp.formats import bitmap, functions, sparse_conv

_OPSET = 13


@dataclass(frozen=True)
class LayerClass:
    """A Conv on a map of `side` x `side`, padded so that stride 1 keeps the side."""

    kernel: int
    c_in: int
    c_out: int
    side: int
    stride: int = 1
    group: int = 1

    def __str__(self) -> str:
        channels = f"{self.c_in}" if self.c_in == self.c_out else f"{self.c_in}-{self.c_out}"
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        groups = f", {self.group} groups" if self.group > 1 else ""
        return f"{self.kernel}x{self.kernel} {channels}@{self.side}{stride}{groups}"

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(C_out, C_in / group, kh, kw)."""
        return (self.c_out, self.c_in // self.group, self.kernel, self.kernel)

    @property
    def x_shape(self) -> tuple[int, ...]:
        """(N, C_in, H, W)."""
        return (1, self.c_in, self.side, self.side)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """(N, C_out, H, W)."""
        padded = self.side + 2 * (self.kernel // 2)
        side = (padded - self.kernel) // self.stride + 1
        return (1, self.c_out, side, side)

    def work(self, density: float) -> Work:
        """What the cost model asks of the layer with a share `density` of its weights kept."""
        return Work.of(self.x_shape, self.y_shape, self.weight_shape, (self.stride, self.stride), density)


LAYERS = (
    LayerClass(3, 64, 64, 224),
    LayerClass(3, 256, 256, 56),
    LayerClass(3, 512, 512, 28),
    LayerClass(3, 64, 64, 56),
    LayerClass(3, 128, 128, 28),
    LayerClass(3, 256, 256, 14),
    LayerClass(3, 512, 512, 7),
    LayerClass(3, 256, 256, 28, stride=2),
    LayerClass(3, 128, 128, 56, stride=2),
    LayerClass(1, 64, 256, 56),
    LayerClass(1, 512, 128, 28),
    LayerClass(1, 256, 1024, 14),
    LayerClass(1, 2048, 512, 7),
    LayerClass(5, 96, 256, 27, group=2),
    LayerClass(3, 256, 384, 13),
    LayerClass(3, 16, 16, 32),
    LayerClass(3, 64, 64, 8),
    LayerClass(3, 512, 512, 4),
    LayerClass(3, 512, 512, 2),
)


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
    return {
        "pads": [layer.kernel // 2] * 4,
        "kernel_shape": [layer.kernel] * 2,
        "strides": [layer.stride] * 2,
        "group": layer.group,
    }


def _model(
    layer: LayerClass, node: NodeProto, constants: dict[str, NDArray[Any]], bodies: list[FunctionProto]
) -> bytes:
    constants = {**constants, "B": np.zeros(layer.c_out, np.float32)}
    shapes = {"X": layer.x_shape, "Y": layer.y_shape}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    graph = helper.make_graph(
        [node], "layer", [x], [y], [numpy_helper.from_array(value, name) for name, value in constants.items()]
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(functions.DOMAIN, functions.DOMAIN_VERSION)]
    model = helper.make_model(graph, opset_imports=opsets, functions=bodies, ir_version=functions.MIN_IR)
    return bytes(model.SerializeToString())
