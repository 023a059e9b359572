"""Operators that lay channels out anew, in their order: Concat, Flatten, Reshape, Squeeze, Unsqueeze."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.model import Model
from onnxcomp_passes.channels.flow import UNKNOWN, Edit, Flow, Mask, Tie, Values, channels_of


@dataclass(frozen=True, eq=False)
class Concat(Flow):
    """Concat along the channels."""

    def ties(self) -> Iterable[Tie]:
        """Each input to its part of the output."""
        start = 0
        for tensor in self.inputs:
            channels = channels_of(tensor)
            yield tensor.name, np.arange(channels), self.output.name, np.arange(start, start + channels)
            start += channels

    def values(self, known: Mapping[str, Values]) -> Values:
        """Those of the inputs, one after the other."""
        return np.concatenate([known[tensor.name] for tensor in self.inputs])


@dataclass(frozen=True, eq=False)
class Regroup(Flow):
    """Each channel becomes `block` channels, one after the other."""

    block: int
    target: NDArray[np.int64] | None  # Reshape's second input, where it says how many channels the output has

    def ties(self) -> Iterable[Tie]:
        """A channel to all that it becomes."""
        channels = np.arange(channels_of(self.inputs[0]))
        yield self.inputs[0].name, channels.repeat(self.block), self.output.name, np.arange(channels_of(self.output))

    def values(self, known: Mapping[str, Values]) -> Values:
        """The input's, each `block` times."""
        return known[self.inputs[0].name].repeat(self.block)

    def edit(self, kept: Mapping[str, Mask], values: Mapping[str, Values]) -> Edit:
        """The number of channels in Reshape's target."""
        if self.target is None:
            return Edit()
        target: NDArray[Any] = self.target.copy()
        target[1] = kept[self.output.name].sum()
        return Edit({1: target})


def read_concat(model: Model, node: gs.Node) -> Flow | str:
    """A Concat of computed tensors along axis 1."""
    y = node.outputs[0]
    axis = int(node.attrs.get("axis", 1))
    if (axis if axis >= 0 else axis + len(y.shape)) != 1:
        return "does not go along the channels"
    if sum(map(channels_of, node.inputs)) != channels_of(y) or not all(map(channels_of, node.inputs)):
        return UNKNOWN
    return Concat(node, tuple(node.inputs), y)


def read_regroup(model: Model, node: gs.Node) -> Flow | str:
    """Where the map is known and each sample's values stay with it, channel after channel."""
    x, y = node.inputs[0], node.outputs[0]
    target = model.constant(node.inputs[1]) if node.op == "Reshape" and len(node.inputs) > 1 else None
    if node.op == "Reshape" and (target is None or target.shape != (len(y.shape),)):
        return "its target is not known"
    if not channels_of(x) or not all(isinstance(d, int) for d in (*x.shape[1:], *y.shape[1:])):
        return UNKNOWN
    if prod(x.shape[1:]) != prod(y.shape[1:]) or channels_of(y) % channels_of(x):
        return "mixes channels with other axes"
    block = channels_of(y) // channels_of(x)
    return Regroup(node, (x,), y, block, target if target is not None and target[1] > 0 else None)
