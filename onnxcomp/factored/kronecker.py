"""A Conv whose weight is a sum of R Kronecker products, as two convolutions (Hameed et al., AAAI 2022, section 3).

    W[f1 F2 + f2, c1 C2 + c2] = sum over r of A_r[f1, c1] (x) B_r[f2, c2]        A (R, F1, C1, ka), B (R, F2, C2, kb)

    u[c1, r, f2] = sum over c2 of B_r[f2, c2] * X[c1, c2]        the same for every c1: they go into the batch
    Y[f1, f2]    = sum over c1 and r of A_r[f1, c1] * u[c1, r, f2]        the same for every f2, by one of three forms

    F2 = 1                 a Conv over C1 R channels; a low rank across channels is the case C1 = 1
    ka = 1 on every axis   a matrix product A (F1, C1 R) by u (C1 R, F2 pixels): no data moves around it
    otherwise              f2 into the batch, by a Transpose before the Conv and another behind it

Which convolution has the pads, strides and dilations along an axis is told by geometry.py. In groups, every group has
factors of its own, and C1 must be 1; with transposes there is no grouped form.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from onnxcomp.factored.geometry import MapSize
from onnxcomp.factored.target import Steps, Target
from onnxcomp.fragment import Fragment
from onnxcomp.numerics.kronecker import Factors, KroneckerShape

_SPATIAL_FROM = 2  # the first spatial axis of a map
_END = np.iinfo(np.int64).max


def why_not(shape: KroneckerShape, group: int) -> str | None:
    """Why a Conv in `group` groups whose weights split as `shape` has no form here, or None."""
    if group == 1:
        return None
    if shape.c1 > 1:
        return "the input channels of a grouped convolution do not split"
    if shape.f2 > 1 and shape.h1 * shape.w1 > 1:
        return "no grouped form has several output channels of B and pixels of A"
    return None


def kronecker(target: Target, factors: Sequence[Factors]) -> Fragment:
    """The two convolutions, from the factors of each group; kernels in one dimension are (1, k).

    Raises ValueError where `why_not` has a reason.
    """
    return _Emission(target, factors).fragment()


class _Emission:
    """The work of `kronecker`. A batch of N holds `group` g times C1 slices of the input channels."""

    def __init__(self, target: Target, factors: Sequence[Factors]) -> None:
        axes = len(target.kernel)
        self.steps, self.target = Steps(target.fragment), target
        self.a = [one.a.reshape(*one.a.shape[:3], *one.a.shape[-axes:]) for one in factors]  # (R, F1, C1, ka)
        self.b = [one.b.reshape(*one.b.shape[:3], *one.b.shape[-axes:]) for one in factors]  # (R, F2, C2, kb)
        self.R, self.F1, self.C1, *ka = self.a[0].shape
        _, self.F2, self.C2, *kb = self.b[0].shape
        self.ka, self.kb, self.group = tuple(ka), tuple(kb), len(factors)
        self.of_a, self.of_b = target.geometry.split(self.ka, self.kb)
        self.inner_size = self.of_b.output(target.map_size, self.kb)
        if self.group > 1 and (self.C1 > 1 or (self.F2 > 1 and prod(self.ka) > 1)):
            raise ValueError("a grouped convolution has no such form")

    def fragment(self) -> Fragment:
        u = self._by_b()
        if self.F2 == 1:
            self._by_channels(u)
        elif prod(self.ka) == 1:
            self._by_product(u)
        else:
            self._by_transposes(u)
        return self.steps.fragment()

    def _by_b(self) -> str:
        """(N C1, g R F2, map)."""
        x = self.steps.x
        if self.C1 > 1:
            x = self._reshape("slices", x, [-1, self.C2, *self._same()])
        weight = np.concatenate([b.reshape(self.R * self.F2, self.C2, *self.kb) for b in self.b])
        return self.steps.conv("b", x, weight, self.of_b, group=self.group)

    def _by_channels(self, u: str) -> None:
        if self.C1 > 1:
            u = self._reshape("terms", u, [-1, self.C1 * self.R, *self._same()])
        weight = np.concatenate([self._second(a) for a in self.a])
        self.steps.conv("a", u, weight, self.of_a, group=self.group, bias=self.target.convolution.bias)

    def _by_product(self, u: str) -> None:
        """A by u, both with a leading axis of groups where there are several."""
        inner = [self.C1 * self.R] if self.group == 1 else [self.group, self.R]
        columns = self._columns("terms", u, self.C1, inner, self.F2, self.inner_size)
        matrices = np.stack([self._second(a).reshape(self.F1, -1) for a in self.a])
        a = self.steps.constant("a", matrices if self.group > 1 else matrices[0])
        product = self.steps.add("product", "MatMul", [a, columns])
        self._biased(self._maps("maps", product, 0, self.group * self.F1 * self.F2, u, self.inner_size))

    def _by_transposes(self, u: str) -> None:
        R, F1, C1, F2 = self.R, self.F1, self.C1, self.F2
        size = self.of_a.output(self.inner_size, self.ka)
        terms = self._columns("terms", u, C1, [C1 * R, F2], 1, self.inner_size)
        terms = self.steps.add("slices_first", "Transpose", [terms], perm=[0, 2, 1, 3])
        terms = self._maps("batch", terms, -1, C1 * R, u, self.inner_size)
        v = self.steps.conv("a", terms, self._second(self.a[0]), self.of_a)
        columns = self._columns("columns", v, F2, [F2, F1], 1, size)
        columns = self.steps.add("channels_first", "Transpose", [columns], perm=[0, 2, 1, 3])
        self._biased(self._maps("maps", columns, 0, F1 * F2, v, size))

    def _second(self, a: NDArray[np.floating]) -> NDArray[np.floating]:
        """A as the weight of a Conv over (c1, r)."""
        return np.moveaxis(a, 0, 2).reshape(self.F1, self.C1 * self.R, *self.ka)

    def _biased(self, y: str) -> None:
        bias = self.target.convolution.bias
        if bias is not None and bias.any():
            self.steps.add("biased", "Add", [y, self.steps.constant("bias", bias.reshape(-1, *(1,) * len(self.ka)))])

    def _columns(self, role: str, x: str, merged: int, inner: list[int], rows: int, size: MapSize) -> str:
        """Maps (N `merged`, channels, map) as (N, *`inner`, `rows` * pixels)."""
        if merged == 1:
            return self._reshape(role, x, [0, *inner, -1])
        if None not in size:
            return self._reshape(role, x, [-1, *inner, rows * prod(pixels or 0 for pixels in size)])
        whole = self._reshape(f"{role}_whole", x, [-1, prod(inner) * rows, *self._same()])
        return self._reshape(role, whole, [0, *inner, -1])

    def _maps(self, role: str, x: str, batch: int, channels: int, like: str, size: MapSize) -> str:
        """Columns as maps (`batch`, `channels`, map) of the size that `like` has; `batch` as Reshape takes it."""
        if None not in size:
            return self._reshape(role, x, [batch, channels, *(pixels or 0 for pixels in size)])
        shape = self.steps.add(f"{role}_shape", "Shape", [like])
        first, end = (self.steps.constant(f"{role}_{at}", np.array([at])) for at in (_SPATIAL_FROM, _END))
        map_size = self.steps.add(f"{role}_size", "Slice", [shape, first, end])
        lead = self.steps.constant(f"{role}_lead", np.array([batch, channels]))
        whole = self.steps.add(f"{role}_target", "Concat", [lead, map_size], axis=0)
        return self.steps.add(role, "Reshape", [x, whole])

    def _reshape(self, role: str, x: str, sizes: list[int]) -> str:
        return self.steps.add(role, "Reshape", [x, self.steps.constant(f"{role}_to", np.array(sizes))])

    def _same(self) -> list[int]:
        """Every spatial axis as it is, in a Reshape's terms."""
        return [0] * len(self.ka)
