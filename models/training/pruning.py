"""Gradual magnitude pruning (Zhu and Gupta 2017, arXiv 1710.01878): a mask per weight that only ever loses ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.layers import Parameter


def cubic_sparsity(progress: float, final: float) -> float:
    """The share of zeros at `progress` (0..1) through the ramp: fast first, while there is plenty to spare."""
    return final * (1 - (1 - min(max(progress, 0.0), 1.0)) ** 3)


class Pruner:
    """Keeps the smallest weights of each of `parameters` at zero."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self._parameters = parameters
        self._masks = [np.ones_like(p.value) for p in parameters]

    def raise_to(self, sparsity: float) -> None:
        """Extend each mask to exactly `round(sparsity * size)` zeros, the smallest magnitudes; never shrink it."""
        for p, mask in zip(self._parameters, self._masks, strict=True):
            count = round(sparsity * mask.size)
            if count > mask.size - np.count_nonzero(mask):
                # Masked weights have magnitude 0 and sort first, so that what is zero stays zero.
                order = np.argsort(np.abs(p.value * mask), axis=None, kind="stable")
                mask.flat[order[:count]] = 0
        self.hold()

    def hold(self) -> None:
        """Zero what an update has moved away from zero."""
        for p, mask in zip(self._parameters, self._masks, strict=True):
            p.value *= mask
