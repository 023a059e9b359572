"""Random weights: He-scaled, with an exact number of zeros in a chosen pattern."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Pattern = Literal["unstructured", "4x1", "16x1"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
_BLOCK_HEIGHT: dict[Pattern, int] = {"unstructured": 1, "4x1": 4, "16x1": 16}


def zero_mask(shape: tuple[int, ...], sparsity: float, pattern: Pattern, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Where a weight of `shape` (C_out, C_in, kh, kw) or (C_out, C_in) is zero.

    A block is 1, 4 or 16 neighbouring output channels at one input channel and kernel position (the last block of a
    column is shorter where C_out is no multiple). Exactly `round(sparsity * blocks)` blocks are zero.
    """
    height = _BLOCK_HEIGHT[pattern]
    rows, columns = -(-shape[0] // height), math.prod(shape[1:])
    blocks = np.zeros(rows * columns, dtype=np.bool_)
    blocks[: round(sparsity * blocks.size)] = True
    rng.shuffle(blocks)
    return blocks.reshape(rows, columns).repeat(height, axis=0)[: shape[0]].reshape(shape)


def he_weight(shape: tuple[int, ...], rng: np.random.Generator, *, zeros: float = 0.0) -> NDArray[np.float32]:
    """Gaussian weight (C_out, C_in/groups, ...) of variance `2 / fan_in` (He et al. 2015, arXiv 1502.01852).

    `zeros` is the share that will be set to zero afterwards: the others grow, so that the output keeps its variance.
    """
    fan_in = max(math.prod(shape[1:]) * (1 - zeros), 1)
    weight = rng.standard_normal(shape, dtype=np.float32)
    weight *= np.float32(math.sqrt(2 / fan_in))
    return weight
