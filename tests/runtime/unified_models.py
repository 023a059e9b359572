"""Weights in blocks of one magnitude, models of one node that has one, and what float32 rounding allows."""

from math import prod

import numpy as np

from onnxcomp.formats.unified import signed_levels
from tests.runtime.sparse_models import Array


def random_weight(
    shape: tuple[int, ...],
    block: tuple[int, int],
    levels: tuple[float, ...] = (1.0,),
    zero: float = 0,
    free: float = 0,
    seed: int = 0,
) -> Array:
    """A weight (C_out, C_in / group, k...) of blocks (output channels, input channels) that `block` divides.

    Shares `zero` and `free` of the blocks are zero and normally distributed; the others have a random level for each
    weight and a scale that float16 holds.
    """
    rng = np.random.default_rng(seed)
    rows, columns, taps = shape[0] // block[0], shape[1] // block[1], prod(shape[2:])
    count, size = rows * columns * taps, block[0] * block[1]
    scales = rng.uniform(0.5, 2, (count, 1)).astype(np.float16).astype(np.float32)
    blocks = rng.choice(signed_levels(levels), (count, size)) * scales
    kind = rng.random(count)
    blocks[kind < zero] = 0
    normal = rng.standard_normal((count, size), np.float32)
    blocks[kind > 1 - free] = normal[kind > 1 - free]
    apart = blocks.reshape(rows, columns, taps, *block)
    return np.ascontiguousarray(apart.transpose(0, 3, 1, 4, 2).reshape(shape))
