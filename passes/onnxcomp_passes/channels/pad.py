"""Pad, of the map and of the channels: the added channels are constant, and may go like others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.model import Model
from onnxcomp_passes.channels.flow import UNKNOWN, Edit, Flow, Mask, Tie, Values, channels_of


@dataclass(frozen=True, eq=False)
class Pad(Flow):
    """Adds `pads[0, 1]` channels before those of the input and `pads[1, 1]` behind them."""

    pads: NDArray[np.int64]  # (2, rank): before and behind each axis
    fill: float | None  # NaN: not known, None: the edge is repeated

    @property
    def _own(self) -> NDArray[np.int64]:
        """Where the input's channels are in the output."""
        first = int(self.pads[0, 1])
        return np.arange(first, first + channels_of(self.inputs[0]))

    def ties(self) -> Iterable[Tie]:
        """The input's channels to themselves, further along."""
        yield self.inputs[0].name, np.arange(len(self._own)), self.output.name, self._own

    def values(self, known: Mapping[str, Values]) -> Values:
        """The added channels, and of the input's those that the map's padding leaves constant."""
        x = known[self.inputs[0].name]
        y = np.full(channels_of(self.output), nan if self.fill is None else self.fill)
        whole = self.fill is None or not self.pads[:, 2:].any()
        y[self._own] = x if whole else np.where(x == self.fill, x, nan)
        return y

    def edit(self, kept: Mapping[str, Mask], values: Mapping[str, Values]) -> Edit:
        """How many of the added channels are kept."""
        channels = kept[self.output.name]
        pads = self.pads.copy()
        pads[:, 1] = channels[: self._own[0]].sum(), channels[self._own[-1] + 1 :].sum()
        if "pads" in self.node.attrs:
            return Edit(attributes={"pads": pads.reshape(-1).tolist()})
        return Edit({1: pads.reshape(-1)})


def read_pad(model: Model, node: gs.Node) -> Flow | str:
    """Pad by constant amounts, of the channels with constants only."""
    x, y = node.inputs[0], node.outputs[0]
    given = [None if tensor.is_empty() else model.constant(tensor) for tensor in node.inputs[1:]]
    amounts = given[0] if given else node.attrs.get("pads")
    if amounts is None or len(given) > 2 or np.size(amounts) != 2 * len(y.shape):
        return "pads by amounts or along axes that are not known"
    pads = np.reshape(np.asarray(amounts, np.int64), (2, -1))
    fill = float(node.attrs.get("value", 0.0))
    if len(given) == 2 and not node.inputs[2].is_empty():
        fill = nan if given[1] is None else float(given[1].item())
    constant = node.attrs.get("mode", "constant") == "constant"
    if pads[:, 0].any() or pads[:, 1].min() < 0 or (pads[:, 1].any() and not constant):
        return "pads samples, or channels by others"
    if channels_of(x) + pads[:, 1].sum() != channels_of(y):
        return UNKNOWN
    return Pad(node, (x,), y, pads, fill if constant else None)
