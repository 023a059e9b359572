"""Random weights: He-scaled, with an exact number of zeros in a chosen pattern."""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

BLOCK_HEIGHTS = {"unstructured": 1, "4x1": 4, "16x1": 16}  # output channels of a block
WINDOW = 16  # consecutive input channels of n:16


def kept_of_window(pattern: str) -> int:
    """n of the pattern n:16, 1 to 15; 0 where it is another."""
    match = re.fullmatch(r"([1-9]|1[0-5]):16", pattern, re.ASCII)
    return int(match[1]) if match else 0


def is_pattern(text: str) -> bool:
    """Whether `text` is one of BLOCK_HEIGHTS or n:16."""
    return text in BLOCK_HEIGHTS or kept_of_window(text) > 0


def own_sparsity(pattern: str) -> float | None:
    """The share of zeros that n:16 has by itself; None where `pattern` is another, which takes any share."""
    n = kept_of_window(pattern)
    return 1 - n / WINDOW if n else None


def fits(shape: tuple[int, ...], pattern: str) -> bool:
    """Whether a weight of `shape` (C_out, C_in, ...) can have zeros in `pattern`: whole windows make n:16."""
    return not kept_of_window(pattern) or shape[1] % WINDOW == 0


def zero_mask(shape: tuple[int, ...], sparsity: float, pattern: str, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Where a weight of `shape` (C_out, C_in, kh, kw) or (C_out, C_in) is zero.

    n:16 keeps n of every 16 consecutive input channels, at each output channel and kernel position, whatever `sparsity`
    is. The others zero blocks: a block is 1, 4 or 16 neighbouring output channels at one input channel and kernel
    position (the last block of a column is shorter where C_out is no multiple), and exactly
    `round(sparsity * blocks)` of them are zero.
    """
    if n := kept_of_window(pattern):
        return _outside_n_of_window(shape, n, rng)
    height = BLOCK_HEIGHTS[pattern]
    rows, columns = -(-shape[0] // height), math.prod(shape[1:])
    blocks = np.zeros(rows * columns, dtype=np.bool_)
    blocks[: round(sparsity * blocks.size)] = True
    rng.shuffle(blocks)
    return blocks.reshape(rows, columns).repeat(height, axis=0)[: shape[0]].reshape(shape)


def _outside_n_of_window(shape: tuple[int, ...], n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    c_out, c_in, *kernel = shape
    zero = np.zeros((c_out, c_in // WINDOW, WINDOW, *kernel), dtype=np.bool_)
    zero[:, :, n:] = True
    return rng.permuted(zero, axis=2).reshape(shape)


def he_weight(shape: tuple[int, ...], rng: np.random.Generator, *, zeros: float = 0.0) -> NDArray[np.float32]:
    """Gaussian weight (C_out, C_in/groups, ...) of variance `2 / fan_in` (He et al. 2015, arXiv 1502.01852).

    `zeros` is the share that will be set to zero afterwards: the others grow, so that the output keeps its variance.
    """
    fan_in = max(math.prod(shape[1:]) * (1 - zeros), 1)
    weight = rng.standard_normal(shape, dtype=np.float32)
    weight *= np.float32(math.sqrt(2 / fan_in))
    return weight
