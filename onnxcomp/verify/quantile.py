"""A quantile of a stream of non-negative numbers, in bounded memory."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT = 1 << 18  # numbers kept as they are: 2 MB
_DROPPED_BITS = 17  # of float32's pattern; sign, exponent and 6 bits of mantissa stay


class Quantile:
    """Exact up to `EXACT` numbers; beyond, at most 1/64 too high, and the same however the stream is cut.

    Beyond, the numbers are counted in a histogram whose bins are the leading bits of their float32 patterns: the
    patterns of non-negative floats are in order, so the bins are too, 64 to an octave, 16,384 in all.
    """

    def __init__(self) -> None:
        self.count = 0
        self.max = 0.0
        self._held: list[NDArray[np.float64]] = []
        self._bins: NDArray[Any] | None = None

    def add(self, values: NDArray[np.float64]) -> None:
        """Take `values` in: any shape, finite, none negative."""
        if values.size == 0:
            return
        self.count += values.size
        self.max = max(self.max, float(values.max()))
        if self._bins is None:
            self._held.append(values.ravel())
            if self.count > EXACT:
                self._bins = np.sum([_binned(held) for held in self._held], axis=0)
                self._held.clear()
        else:
            self._bins += _binned(values.ravel())

    def at(self, share: float) -> float:
        """The smallest number that at least `share` of all numbers do not exceed; 0 where there are none."""
        if self.count == 0:
            return 0.0
        rank = max(1, math.ceil(share * self.count))
        if self._bins is None:
            return float(np.partition(np.concatenate(self._held), rank - 1)[rank - 1])
        index = int(np.searchsorted(np.cumsum(self._bins), rank))
        if index == 0:  # zero and the smallest denormals
            return 0.0
        top = np.array((index + 1) << _DROPPED_BITS, np.uint32).view(np.float32)
        return min(float(top), self.max)


def _binned(values: NDArray[np.float64]) -> NDArray[Any]:
    with np.errstate(over="ignore", under="ignore"):
        patterns = values.astype(np.float32).view(np.uint32)
    return np.bincount(patterns >> _DROPPED_BITS, minlength=1 << (31 - _DROPPED_BITS))
