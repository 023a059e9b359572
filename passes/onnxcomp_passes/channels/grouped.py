"""A Conv of several groups, depthwise ones included: y = b + W * x within each group.

A group goes as a whole, with its inputs and its outputs. Beyond that each group that stays may lose outputs, as long as
all groups keep equally many (the multiplier of a depthwise Conv).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.convolution import label
from onnxcomp_passes.channels.flow import Edit, Flow, Mask, Read, Tie, Values


@dataclass(frozen=True, eq=False)
class GroupedConv(Flow):
    """W (C_out, C_in / group, k...) and b (C_out)."""

    weight: NDArray[Any]
    bias: NDArray[np.float64]
    group: int
    border: str | None  # why a constant input would not give a constant output, None where it does

    def ties(self) -> Iterable[Tie]:
        """None: a group that may lose outputs keeps its inputs."""
        return ()

    def reads(self, kept: Mapping[str, Mask], values: Mapping[str, Values]) -> Iterable[Read]:
        """All inputs of a group with a kept input or output."""
        x = self.inputs[0].name
        inputs = np.repeat(self._stays(kept), len(kept[x]) // self.group)
        yield Read(x, inputs, f"it is in a group of '{label(self.node)}' that stays")

    def evens_out(self, kept: Mapping[str, Mask]) -> Iterable[Read]:
        """As many outputs in every group that stays as in the fullest, one at least."""
        outputs = kept[self.output.name].reshape(self.group, -1)
        stays = self._stays(kept)
        count = max(int(outputs.sum(axis=1).max()), 1)
        missing = count - outputs.sum(axis=1, keepdims=True)
        more = ~outputs & (np.cumsum(~outputs, axis=1) <= missing) & stays[:, None]
        reason = f"every group of '{label(self.node)}' has as many outputs"
        yield Read(self.output.name, more.reshape(-1), reason)

    def values(self, known: Mapping[str, Values]) -> Values:
        """Constant outputs: those that only constants, or nothing at all, go into."""
        x = known[self.inputs[0].name].reshape(self.group, -1)
        x = np.repeat(x, len(self.bias) // self.group, axis=0)  # (C_out, C_in / group)
        weight = self.weight.reshape(*self.weight.shape[:2], -1)
        varying = np.isnan(x) | (x != 0 if self.border else False)
        sums = weight.sum(axis=2, dtype=np.float64) * np.where(varying, 0, x)
        return np.where((weight.any(axis=2) & varying).any(axis=1), np.nan, self.bias + sums.sum(axis=1))

    def edit(self, kept: Mapping[str, Mask], values: Mapping[str, Values]) -> Edit:
        """Weight and bias of the kept outputs, and the number of groups that stay."""
        y = kept[self.output.name]
        weight = self.weight[y]
        constants = {1: weight}
        if len(self.node.inputs) > 2 and not self.node.inputs[2].is_empty():
            constants[2] = self.bias[y].astype(weight.dtype)
        return Edit(constants, {"group": int(self._stays(kept).sum())})

    def _stays(self, kept: Mapping[str, Mask]) -> Mask:
        """(group): whether anything of the group is kept."""
        tensors = (self.inputs[0].name, self.output.name)
        stays: Mask = np.any([kept[name].reshape(self.group, -1).any(axis=1) for name in tensors], axis=0)
        return stays
