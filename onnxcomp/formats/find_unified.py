"""Which blocks of one magnitude a weight has already, as networks trained with signs, ternary weights or blocks do."""

import numpy as np
from numpy.typing import NDArray

from onnxcomp.formats import digits
from onnxcomp.formats.bitmap import narrowest
from onnxcomp.formats.unified import FREE, UNIFIED, Block, Unified, classify, cut, encode, signed_levels

BLOCKS: tuple[Block, ...] = ((8, 8), (4, 4), (16, 1), (8, 1), (1, 8), (4, 1))
LEVELS: tuple[tuple[float, ...], ...] = ((1.0, 0.5, 0.0), (1.0, 0.0), (1.0,))  # each holds what the next one does


def find(weight: NDArray[np.float32]) -> Unified | None:
    """`weight` (C_out, C_in / group, k...) in the blocks of BLOCKS and the levels of LEVELS that store smallest.

    None where that takes as many bytes as the weight itself, or no block is unified.
    """
    best, smallest = None, weight.size * weight.itemsize
    for block in BLOCKS:
        if weight.size == 0 or weight.shape[0] % block[0] or weight.shape[1] % block[1]:
            continue
        blocks = cut(weight, block)
        for levels in LEVELS:
            kinds, scales = classify(blocks, levels)
            if not (kinds == UNIFIED).any():
                break
            size = _size_bytes(blocks, kinds, scales, levels)
            if size < smallest:
                best, smallest = (block, levels), size
    return None if best is None else encode(weight, *best)


def _size_bytes(
    blocks: NDArray[np.float32], kinds: NDArray[np.uint8], scales: NDArray[np.float32], levels: tuple[float, ...]
) -> int:
    """Bytes of the format's arrays."""
    unified = int((kinds == UNIFIED).sum())
    groups = -(-unified * blocks.shape[1] // digits.GROUP)
    size = narrowest(scales[kinds == UNIFIED]).nbytes + narrowest(blocks[kinds == FREE].ravel()).nbytes
    size += groups * digits.bytes_of_group(signed_levels(levels).size)
    return int(size + (0 if unified == kinds.size else -(-kinds.size // 4)))
