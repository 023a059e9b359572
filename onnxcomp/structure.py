"""What is in a weight already: zeros, and the pattern they form."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WINDOW = 16  # input channels of an n:16 window
_CODEBOOK = 256  # at most this many distinct values are worth naming


@dataclass(frozen=True)
class Structure:
    """Zeros of a weight W (C_out, C_in / group, k...) or (rows, columns), and the pattern found in them."""

    size: int
    nonzero: int
    pattern: str  # "dense", "unstructured", "16x1 blocks", "4x1 blocks", "n:16"
    distinct: int | None  # number of distinct values where it is at most 256
    dead_outputs: int  # output channels that are all zero

    @property
    def zeros(self) -> float:
        """Share of zeros, 0 to 1."""
        return 1 - self.nonzero / self.size if self.size else 0.0

    def __str__(self) -> str:
        parts = [self.pattern]
        if self.distinct is not None and self.size > _CODEBOOK:
            parts.append(codebook_of(self.distinct))
        if self.dead_outputs:
            parts.append(_several(self.dead_outputs, "dead output"))
        return ", ".join(parts)


def structure_of(weight: NDArray[np.floating]) -> Structure:
    """The structure of `weight`, output channels first."""
    nonzero = weight != 0
    count = int(np.count_nonzero(nonzero))
    distinct = len(np.unique(weight[:1].ravel())) if weight.size else 0  # one channel decides cheaply against most
    exact = len(np.unique(weight)) if weight.size and distinct <= _CODEBOOK else None
    rows = nonzero.reshape(weight.shape[0], -1) if weight.size else nonzero.reshape(0, 0)
    dead = int((~rows.any(axis=1)).sum()) if rows.size else 0
    few = exact if exact is not None and exact <= _CODEBOOK else None
    return Structure(weight.size, count, _pattern(nonzero, count), few, dead)


def _pattern(nonzero: NDArray[np.bool_], count: int) -> str:
    zeros = nonzero.size - count
    if nonzero.size == 0 or zeros < 0.05 * nonzero.size:
        return "dense"
    for height in (16, 4):
        if nonzero.shape[0] % height == 0:
            blocks = nonzero.reshape(nonzero.shape[0] // height, height, -1).any(axis=1)
            if (blocks.size - np.count_nonzero(blocks)) * height >= 0.99 * zeros:
                return f"{height}x1 blocks"
    if nonzero.ndim > 1 and nonzero.shape[1] % _WINDOW == 0:
        kept = nonzero.reshape(nonzero.shape[0], nonzero.shape[1] // _WINDOW, _WINDOW, -1).sum(axis=2)
        most = int(kept.max())
        if 0 < most <= _WINDOW // 2 and count >= 0.9 * most * kept.size:
            return f"{most}:16"
    return "unstructured"


def codebook_of(values: int) -> str:
    """How a weight of so many distinct values is described."""
    return f"codebook of {_several(values, 'value')}"


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
