"""What a layer multiplies its weight with: the im2col columns of its input, and the outputs that belong to them.

A column of a Conv is one place of its kernel, (C_in / group, k...) in a row of Q numbers as W's rows are; of a fully
connected layer it is one vector of its input. Positions are numbered in row-major order over the output's places.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Protocol, cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Positions = NDArray[np.intp]
"""For each sample the numbers of its chosen positions (N, M)."""


class Columns(Protocol):
    """How one kind of layer reads its input."""

    def places(self, input_shape: Sequence[int]) -> tuple[int, int]:
        """Samples N in an input of that shape, and positions P of each."""

    def inputs(self, x: NDArray[Any], chosen: Positions | None) -> NDArray[np.float32]:
        """The columns (N * M, group, Q) at the `chosen` positions, or at all."""

    def outputs(self, y: NDArray[Any], chosen: Positions | None) -> NDArray[np.float32]:
        """The outputs (N * M, C_out) there."""


@dataclass(frozen=True)
class ConvColumns:
    """A Conv's, of any number of spatial axes; every tuple has an entry for each."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...] | None  # before and after; None: as auto_pad says
    auto_pad: str
    group: int

    @classmethod
    def of(cls, attributes: Mapping[str, object], kernel: Sequence[int]) -> "ConvColumns":
        """From a Conv's attributes, absent ones at ONNX's defaults."""
        axes = len(kernel)

        def sizes(name: str, default: int, count: int) -> tuple[int, ...]:
            given = attributes.get(name)
            return tuple(cast(Sequence[int], given)) if given else (default,) * count

        auto_pad = str(attributes.get("auto_pad", "NOTSET"))
        flat = sizes("pads", 0, 2 * axes)
        pads = tuple(zip(flat[:axes], flat[axes:], strict=True)) if auto_pad in ("NOTSET", "") else None
        group = int(cast(int, attributes.get("group", 1)))
        return cls(tuple(kernel), sizes("strides", 1, axes), sizes("dilations", 1, axes), pads, auto_pad, group)

    def places(self, input_shape: Sequence[int]) -> tuple[int, int]:
        return input_shape[0], prod(self._output(input_shape[2:]))

    def inputs(self, x: NDArray[Any], chosen: Positions | None) -> NDArray[np.float32]:
        axes = tuple(range(2, x.ndim))
        padded = np.pad(x.astype(np.float32, copy=False), ((0, 0), (0, 0), *self._padding(x.shape[2:])))
        windows = sliding_window_view(padded, self._extents, axis=axes)  # (N, C, places..., extents...)
        steps = (*(slice(None, None, s) for s in self.strides), *(slice(None, None, d) for d in self.dilations))
        windows = np.moveaxis(windows[(slice(None), slice(None), *steps)], 1, 1 + len(axes))
        if chosen is not None:  # (N, M, C, k...)
            where = np.unravel_index(chosen, windows.shape[1 : 1 + len(axes)])
            windows = windows[(np.arange(len(x))[:, None], *where)]
        return windows.reshape(-1, self.group, x.shape[1] // self.group * prod(self.kernel))

    def outputs(self, y: NDArray[Any], chosen: Positions | None) -> NDArray[np.float32]:
        return _at(y.reshape(*y.shape[:2], -1).swapaxes(1, 2), chosen)

    @property
    def _extents(self) -> tuple[int, ...]:
        """What the dilated kernel covers."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def _output(self, spatial: Sequence[int]) -> tuple[int, ...]:
        padded = (size + sum(pad) for size, pad in zip(spatial, self._padding(spatial), strict=True))
        steps = zip(padded, self._extents, self.strides, strict=True)
        return tuple((size - extent) // stride + 1 for size, extent, stride in steps)

    def _padding(self, spatial: Sequence[int]) -> tuple[tuple[int, int], ...]:
        if self.pads is not None:
            return self.pads
        if self.auto_pad == "VALID":
            return ((0, 0),) * len(spatial)
        pads = []
        for size, extent, stride in zip(spatial, self._extents, self.strides, strict=True):
            total = max((-(-size // stride) - 1) * stride + extent - size, 0)
            less, more = total // 2, total - total // 2
            pads.append((less, more) if self.auto_pad == "SAME_UPPER" else (more, less))
        return tuple(pads)


@dataclass(frozen=True)
class LinearColumns:
    """A Gemm's or MatMul's with a constant weight on the right: the last axis of the input, one group."""

    def places(self, input_shape: Sequence[int]) -> tuple[int, int]:
        return (input_shape[0], prod(input_shape[1:-1])) if len(input_shape) > 1 else (1, 1)

    def inputs(self, x: NDArray[Any], chosen: Positions | None) -> NDArray[np.float32]:
        return self.outputs(x, chosen)[:, None]

    def outputs(self, y: NDArray[Any], chosen: Positions | None) -> NDArray[np.float32]:
        return _at(y.reshape(*self.places(y.shape), y.shape[-1]), chosen)


@lru_cache(maxsize=1024)  # a search asks the same for every network that it tries
def choose(seed: int, first: int, count: int, places: int, most: int) -> Positions | None:
    """At most `most` of `places` positions for each of `count` samples, the same ones however samples are batched.

    `first` is the number of the first sample. None where all are taken.
    """
    if places <= most:
        return None
    draws = (np.random.default_rng([seed, first + i]) for i in range(count))
    chosen = np.stack([draw.choice(places, most, replace=False, shuffle=False) for draw in draws])
    chosen.flags.writeable = False
    return chosen


def _at(values: NDArray[Any], chosen: Positions | None) -> NDArray[np.float32]:
    """Values (N, P, channels) as (N * M, channels)."""
    if chosen is not None:
        values = np.take_along_axis(values, chosen[:, :, None], axis=1)
    return values.reshape(-1, values.shape[-1]).astype(np.float32, copy=False)
