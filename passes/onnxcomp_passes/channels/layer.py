"""A layer with weights, whose outputs may read every input of their group: Conv, ConvTranspose, Gemm, MatMul.

    y_o = b_o + sum_i W_oi * x_i

If each W_oi that is not zero meets a constant x_i then y_o is constant; and a constant x_i may go if its share,
sum over the kernel of W_oi times x_i, is added to b_o. With zero padding that share is smaller along the border: only
zeros may go then. Of several groups (a depthwise Conv has one a channel) some may go as a whole, and all that stay must
keep equally many inputs, and equally many outputs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.convolution import label
from onnxcomp_passes.channels.flow import Edit, Flow, Mask, Read, Tie, Values, multiple

_FINE_BYTES = 4  # a bias of fewer bytes would be rounded by more than a rewrite may differ


@dataclass(frozen=True, eq=False)
class Layer(Flow):
    """Weight and bias, g groups of c_out outputs and c_in inputs."""

    weight: NDArray[Any]  # (g, c_out, c_in, k...)
    axes: tuple[int, int]  # of output and input channels in the node's own weight
    bias: NDArray[np.float64]  # b (g * c_out): what the node adds to its products
    scale: float  # of the products: Gemm's alpha
    border: str | None  # why a constant input would not give a constant output, None where it does
    biased: bool  # whether the node can add a bias
    connected: NDArray[np.bool_]  # (g, c_out, c_in): whether W_oi has a nonzero

    @property
    def group(self) -> int:
        """The number of groups."""
        return len(self.weight)

    def ties(self) -> Iterable[Tie]:
        """None: what is read is up to the weights."""
        return ()

    def reads(self, kept: Mapping[str, Mask], values: Mapping[str, Values]) -> Iterable[Read]:
        """The inputs that a kept output has a weight for and that the bias cannot stand for."""
        x = self.inputs[0].name
        _, outputs = self._by_group(kept)
        read = (self.connected & outputs[:, :, None]).any(axis=1).reshape(-1) & (values[x] != 0)
        constant = ~np.isnan(values[x])
        name = label(self.node)
        yield Read(x, read & ~constant, f"'{name}' reads it")
        obstacle = self._obstacle
        if obstacle:
            yield Read(x, read & constant, f"'{name}' reads it and {obstacle}")

    def evens_out(self, kept: Mapping[str, Mask], align: int) -> Iterable[Read]:
        """As many inputs and outputs in every group that stays as in the fullest, one at least."""
        if self.group == 1:
            return
        stays = self._stays(kept)[:, None]
        reason = f"every group of '{label(self.node)}' has as many"
        for tensor, some in zip((*self.inputs, self.output), self._by_group(kept), strict=True):
            count = multiple(int(some.sum(axis=1).max()), align)
            more = ~some & (np.cumsum(~some, axis=1) <= count - some.sum(axis=1, keepdims=True)) & stays
            yield Read(tensor.name, more.reshape(-1), reason)

    def values(self, known: Mapping[str, Values]) -> Values:
        """Constant outputs: those that only constants, or nothing at all, go into."""
        x = known[self.inputs[0].name]
        varying = np.isnan(x) | (x != 0 if self.border else False)
        varies = (self.connected & varying.reshape(self.group, 1, -1)).any(axis=2).reshape(-1)
        return np.where(varies, np.nan, self.bias + self._share(x, ~varying))

    def edit(self, kept: Mapping[str, Mask], values: Mapping[str, Values]) -> Edit:
        """Weight and bias of the kept channels, what the removed ones added in the bias."""
        x, y = self.inputs[0].name, self.output.name
        inputs, outputs = self._by_group(kept)
        groups = np.flatnonzero(self._stays(kept))
        weight = np.concatenate([self.weight[g][outputs[g]][:, inputs[g]] for g in groups])
        constants = {1: np.ascontiguousarray(np.moveaxis(weight, (0, 1), self.axes))}
        share = self._share(values[x], ~kept[x])[kept[y]]
        if share.any() or (len(self.node.inputs) > 2 and not self.node.inputs[2].is_empty()):
            constants[2] = (self.bias[kept[y]] + share).astype(weight.dtype)
        attributes = {"group": len(groups), "beta": 1.0}  # beta is in the bias
        return Edit(constants, {name: value for name, value in attributes.items() if name in self.node.attrs})

    @property
    def _obstacle(self) -> str | None:
        """Why the bias cannot stand for a constant input other than zero."""
        if self.border:
            return self.border
        if not self.biased:
            return "has no bias to take it in"
        if self.weight.dtype.itemsize < _FINE_BYTES:
            return f"its bias of {self.weight.dtype} is too coarse to take it in"
        return None

    def _share(self, x: Values, which: Mask) -> NDArray[np.float64]:
        """What the constant inputs among `which` add to each output (g * c_out)."""
        used = np.where(which & ~np.isnan(x), x, 0).reshape(self.group, 1, -1)
        some = used.any(axis=(0, 1))
        sums = self.weight[:, :, some].sum(axis=tuple(range(3, self.weight.ndim)), dtype=np.float64)
        share: NDArray[np.float64] = self.scale * (sums * used[:, :, some]).sum(axis=2).reshape(-1)
        return share

    def _by_group(self, kept: Mapping[str, Mask]) -> tuple[Mask, Mask]:
        """The kept inputs (g, c_in) and outputs (g, c_out)."""
        inputs, outputs = (kept[tensor.name].reshape(self.group, -1) for tensor in (*self.inputs, self.output))
        return inputs, outputs

    def _stays(self, kept: Mapping[str, Mask]) -> Mask:
        """(g): whether anything of the group is kept."""
        stays: Mask = np.any([some.any(axis=1) for some in self._by_group(kept)], axis=0)
        return stays
