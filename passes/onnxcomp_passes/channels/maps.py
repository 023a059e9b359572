"""Operators on the map of each channel by itself: pooling, padding, resizing, means."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

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


def read_pad(model: Model, node: gs.Node) -> Flow | str:
    """Pad of the map's axes."""
    constants = [None if t.is_empty() else model.constant(t) for t in node.inputs[1:]]
    pads = node.attrs.get("pads") if not constants else constants[0]
    rank = len(node.outputs[0].shape)
    if pads is None or len(constants) > 2 or len(pads) != 2 * rank or np.any(np.reshape(pads, (2, rank))[:, :2]):
        return "pads other axes than the map's, or which is not known"
    if node.attrs.get("mode", "constant") != "constant":
        return _flow(node, None)
    if len(constants) < 2 or node.inputs[2].is_empty():
        return _flow(node, float(node.attrs.get("value", 0.0)))
    return _flow(node, nan if constants[1] is None else float(constants[1].item()))


def read_resize(model: Model, node: gs.Node) -> Flow | str:
    """Resize and Upsample by constant scales that leave the channels alone."""
    where = 2 if node.op == "Resize" and model.opset >= 11 else 1
    scales = model.constant(node.inputs[where]) if len(node.inputs) > where else node.attrs.get("scales")
    sized = any(not tensor.is_empty() for tensor in node.inputs[where + 1 :])
    if scales is None or sized or "axes" in node.attrs or np.any(np.ravel(scales)[:2] != 1):
        return "resizes to a fixed size, or by scales that are not known"
    return _flow(node, nan)


def read_mean(model: Model, node: gs.Node) -> Flow | str:
    """ReduceMean and ReduceMax over axes of the map."""
    axes = node.attrs.get("axes") if len(node.inputs) < 2 else model.constant(node.inputs[1])
    rank = len(node.inputs[0].shape or ())
    if axes is None or not np.size(axes) or min(a if a >= 0 else a + rank for a in np.ravel(axes)) < 2:
        return "reduces other axes than the map's"
    return _flow(node, None)


def _flow(node: gs.Node, fill: float | None) -> Flow | str:
    x, y = node.inputs[0], node.outputs[0]
    return MapByMap(node, (x,), y, fill) if channels_of(x) == channels_of(y) else UNKNOWN
