"""Which blocks of one magnitude a weight has already, as networks trained with signs, ternary weights or blocks do."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from onnxcomp.formats import digits
from onnxcomp.formats.bitmap import narrowest
from onnxcomp.formats.unified import FREE, UNIFIED, Block, Unified, classify, cut, encode, signed_levels

BLOCKS: tuple[Block, ...] = ((8, 8), (4, 4), (16, 1), (8, 1), (1, 8), (4, 1))
_RUN = 4  # successive weights that every one of BLOCKS holds
LEVELS: tuple[tuple[float, ...], ...] = ((1.0, 0.5, 0.0), (1.0, 0.0), (1.0,))  # each holds what the next one does


def find(weight: NDArray[np.float32]) -> Unified | None:
    """`weight` (C_out, C_in / group, k...) in the blocks of BLOCKS and the levels of LEVELS that store smallest.

    None where that takes as many bytes as the weight itself, or no block is unified.
    """
    if not _may_have(weight):
        return None
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


def shared(weight: NDArray[np.float32]) -> Unified | None:
    """`weight` in the blocks that it has already; None where a magnitude does not serve two weights on average.

    So one that is mostly zeros, with a single number left in most blocks, is not taken for one of shared magnitudes.
    """
    found = find(weight)
    if found is None:
        return None
    served = np.count_nonzero(weight) - np.count_nonzero(found.values)
    return found if served >= 2 * found.scales.size else None


def _may_have(weight: NDArray[np.float32]) -> bool:
    """Whether any block of BLOCKS may be unified: most weights have none, and this tells in a fraction of the time.

    Every one of BLOCKS holds runs of four weights, along the output or the input channels.
    """
    size = np.abs(weight)
    for axis in (0, 1):
        if weight.shape[axis] % _RUN == 0:
            run = [np.moveaxis(size, axis, 0)[i::_RUN] for i in range(_RUN)]
            if np.logical_and.reduce([_one_magnitude(a, b) for a, b in pairwise(run)]).any():
                return True
    return False


def _one_magnitude(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where `a` and `b` may be levels of LEVELS times the same number."""
    same: NDArray[np.bool_] = (a == b) | (a == b / 2) | (a / 2 == b) | (a == 0) | (b == 0)
    return same


def _size_bytes(
    blocks: NDArray[np.float32], kinds: NDArray[np.uint8], scales: NDArray[np.float32], levels: tuple[float, ...]
) -> int:
    """Bytes of the format's arrays."""
    unified = int((kinds == UNIFIED).sum())
    groups = -(-unified * blocks.shape[1] // digits.GROUP)
    size = narrowest(scales[kinds == UNIFIED]).nbytes + narrowest(blocks[kinds == FREE].ravel()).nbytes
    size += groups * digits.bytes_of_group(signed_levels(levels).size)
    return int(size + (0 if unified == kinds.size else -(-kinds.size // 4)))
