"""Operators on the map of each channel by itself: pooling, resizing, slicing, means."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from onnxcomp.model import Model
from onnxcomp_passes.channels.flow import UNKNOWN, Flow, Values, channels_of
from onnxcomp_passes.dropout import is_inference


@dataclass(frozen=True, eq=False)
class MapByMap(Flow):
    """Each output channel is made of the input channel of its number, and of `fill`."""

    fill: float | None  # what a constant channel is mixed with; NaN: something not known, None: nothing

    def values(self, known: Mapping[str, Values]) -> Values:
        """The input's constants that equal what they are mixed with."""
        x = known[self.inputs[0].name]
        return x if self.fill is None else np.where(x == self.fill, x, np.nan)


def read_as_it_is(model: Model, node: gs.Node) -> Flow | str:
    """Identity, a global pooling, MaxPool: whatever surrounds a constant channel does not change it."""
    return _flow(node, None)


def read_dropout(model: Model, node: gs.Node) -> Flow | str:
    """Dropout at inference."""
    return _flow(node, None) if is_inference(model, node) else "is in training mode"


def read_average_pool(model: Model, node: gs.Node) -> Flow | str:
    """AveragePool, which may count its padding as zeros."""
    padded = np.any(node.attrs.get("pads", 0)) or str(node.attrs.get("auto_pad", "")).startswith("SAME")
    return _flow(node, 0.0 if padded and node.attrs.get("count_include_pad", 0) else None)


def read_resize(model: Model, node: gs.Node) -> Flow | str:
    """Resize and Upsample by constant scales that leave the channels alone."""
    where = 2 if node.op == "Resize" and model.opset >= 11 else 1
    scales = model.constant(node.inputs[where]) if len(node.inputs) > where else node.attrs.get("scales")
    sized = any(not tensor.is_empty() for tensor in node.inputs[where + 1 :])
    if scales is None or sized or "axes" in node.attrs or np.any(np.ravel(scales)[:2] != 1):
        return "resizes to a fixed size, or by scales that are not known"
    return _flow(node, nan)


def read_slice(model: Model, node: gs.Node) -> Flow | str:
    """Slice of axes of the map."""
    axes = node.attrs.get("axes") if len(node.inputs) == 1 else None
    if len(node.inputs) > 3:
        axes = model.constant(node.inputs[3])
    return _flow(node, None) if _of_map(node, axes) else "slices other axes than the map's"


def read_mean(model: Model, node: gs.Node) -> Flow | str:
    """ReduceMean and ReduceMax over axes of the map."""
    axes = node.attrs.get("axes") if len(node.inputs) < 2 else model.constant(node.inputs[1])
    return _flow(node, None) if _of_map(node, axes) else "reduces other axes than the map's"


def _of_map(node: gs.Node, axes: Any) -> bool:
    """Whether `axes` are known and none of them is that of samples or channels."""
    rank = len(node.inputs[0].shape)
    return axes is not None and np.size(axes) > 0 and min(a if a >= 0 else a + rank for a in np.ravel(axes)) >= 2


def _flow(node: gs.Node, fill: float | None) -> Flow | str:
    x, y = node.inputs[0], node.outputs[0]
    return MapByMap(node, (x,), y, fill) if channels_of(x) == channels_of(y) else UNKNOWN
