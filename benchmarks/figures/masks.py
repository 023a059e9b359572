"""Which weights are zero, in each structure that a layer can be measured in."""

import re

import numpy as np
from numpy.typing import NDArray

from zoo.weights import PATTERNS, zero_mask

_GROUP = 16  # consecutive input channels of n:16


def structure(text: str) -> str:
    """`text`, where it names a structure; ValueError where it does not."""
    if text not in PATTERNS and not _kept(text):
        raise ValueError(f"'{text}' is none of {', '.join(PATTERNS)} and n:16 with n from 1 to 15")
    return text


def zeros(shape: tuple[int, ...], sparsity: float, structure: str, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Where a weight of `shape` (C_out, C_in / group, kh, kw) is zero.

    `structure`: unstructured, 4x1 or 16x1 (blocks of output channels), or n:16: of every 16 consecutive input channels
    n are kept, at each output channel and kernel position, whatever `sparsity` says.
    """
    for pattern in PATTERNS:
        if structure == pattern:
            return zero_mask(shape, sparsity, pattern, rng)
    return _outside_n_of_16(shape, _kept(structure), rng)


def own_sparsity(structure: str) -> float | None:
    """The share of zeros that a structure has by itself, n:16 that is."""
    return 1 - _kept(structure) / _GROUP if _kept(structure) else None


def _kept(structure: str) -> int:
    """n of n:16; 0 where it is something else."""
    match = re.fullmatch(r"(\d+):16", structure)
    return int(match[1]) if match and int(match[1]) < _GROUP else 0


def _outside_n_of_16(shape: tuple[int, ...], n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """All but n of every 16 input channels; of a last, shorter group, the n that come first in a shuffle of 16."""
    c_out, c_in, *kernel = shape
    groups = -(-c_in // _GROUP)
    ranks = rng.random((c_out, groups, _GROUP, *kernel)).argsort(axis=2).argsort(axis=2)
    return np.asarray(ranks.reshape(c_out, groups * _GROUP, *kernel)[:, :c_in] >= n)
