"""A layer whose every output channel may read every input channel: Conv, ConvTranspose, Gemm, MatMul.

    y_o = b_o + sum_i W_oi * x_i

If each W_oi that is not zero meets a constant x_i then y_o is constant; and a constant x_i may go if its share,
sum over the kernel of W_oi times x_i, is added to b_o. With zero padding that share is smaller along the border: only
zeros may go then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.convolution import label
from onnxcomp_passes.channels.flow import Edit, Flow, Mask, Read, Tie, Values

_NARROW_BYTES = 4  # a bias of fewer bytes would be rounded by more than a rewrite may differ


@dataclass(frozen=True, eq=False)
class Layer(Flow):
    """Weight and bias with the axes they have in the node."""

    weight: NDArray[Any]
    axes: tuple[int, int]  # of output and input channels in the weight
    connected: NDArray[np.bool_]  # (C_out, C_in): whether W_oi has a nonzero
    bias: NDArray[np.float64]  # b (C_out): what the node adds to its products
    scale: float  # of the products: Gemm's alpha
    border: str | None  # why a constant input would not give a constant output, None where it does
    biased: bool  # whether the node can add a bias

    def ties(self) -> Iterable[Tie]:
        """None: what is read is up to the weights."""
        return ()

    def reads(self, kept: Mapping[str, Mask], values: Mapping[str, Values]) -> Iterable[Read]:
        """The inputs that a kept output has a weight for and that the bias cannot stand for."""
        x = self.inputs[0].name
        read = self.connected[kept[self.output.name]].any(axis=0) & (values[x] != 0)
        constant = ~np.isnan(values[x])
        name = label(self.node)
        yield Read(x, read & ~constant, f"'{name}' reads it")
        obstacle = self._obstacle
        if obstacle:
            yield Read(x, read & constant, f"'{name}' reads this constant and {obstacle}")

    def values(self, known: Mapping[str, Values]) -> Values:
        """Constant outputs: those that only constants, or nothing at all, go into."""
        x = known[self.inputs[0].name]
        varying = np.isnan(x) | (x != 0 if self.border else False)
        return np.where((self.connected & varying).any(axis=1), np.nan, self.bias + self._share(x, ~varying))

    def edit(self, kept: Mapping[str, Mask], values: Mapping[str, Values]) -> Edit:
        """Weight and bias of the kept channels, what the removed ones added in the bias."""
        x, y = self.inputs[0].name, self.output.name
        weight = np.compress(kept[y], np.compress(kept[x], self.weight, self.axes[1]), self.axes[0])
        constants = {1: np.ascontiguousarray(weight)}
        share = self._share(values[x], ~kept[x])
        folded = bool(share[kept[y]].any())
        if folded or (len(self.node.inputs) > 2 and not self.node.inputs[2].is_empty()):
            constants[2] = (self.bias + share)[kept[y]].astype(weight.dtype)
        return Edit(constants, {"beta": 1.0} if "beta" in self.node.attrs and 2 in constants else {})

    @property
    def _obstacle(self) -> str | None:
        """Why the bias cannot stand for a constant input other than zero."""
        if self.border:
            return self.border
        if not self.biased:
            return "has no bias that it could go into"
        if self.weight.dtype.itemsize < _NARROW_BYTES:
            return f"a bias of {self.weight.dtype} is too coarse for it"
        return None

    def _share(self, x: Values, which: Mask) -> NDArray[np.float64]:
        """What the constant inputs among `which` add to each output (C_out)."""
        used = which & ~np.isnan(x) & (x != 0)
        if not used.any():
            return np.zeros(len(self.bias))
        weight = outputs_first(np.compress(used, self.weight, self.axes[1]), self.axes).astype(np.float64)
        share: NDArray[np.float64] = self.scale * (weight.reshape(*weight.shape[:2], -1).sum(axis=2) @ x[used])
        return share


def outputs_first(weight: NDArray[Any], axes: tuple[int, int]) -> NDArray[Any]:
    """`weight` as (C_out, C_in, k...)."""
    return np.moveaxis(weight, axes, (0, 1))
