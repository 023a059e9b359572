"""Which blocks of one magnitude a weight has already, as networks trained with signs, ternary weights or blocks do."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onnxcomp.formats import digits
from onnxcomp.formats.bitmap import narrowest
from onnxcomp.formats.unified import FREE, UNIFIED, Block, Unified, classify, cut, encode, signed_levels
from onnxcomp.numerics.by_content import by_content

BLOCKS: tuple[Block, ...] = ((8, 8), (4, 4), (16, 1), (8, 1), (1, 8), (4, 1))
LEVELS: tuple[tuple[float, ...], ...] = ((1.0, 0.5, 0.0), (1.0, 0.0), (1.0,))  # each holds what the next one does
_BAND = 16  # successive output channels: whole blocks of every height
_SAMPLE = 1 << 16  # weights that tell what to look for in the others
_SERVED = 2  # weights that a magnitude must serve on average: blocks with one left, in mostly zeros, share nothing

_Form = tuple[Block, tuple[float, ...]]


def find(weight: NDArray[np.float32]) -> Unified | None:
    """`weight` (C_out, C_in / group, k...) in the blocks of BLOCKS and the levels of LEVELS that store smallest.

    Of a large weight a sample tells which these are.
    None where that takes as many bytes as the weight itself, or magnitudes do not serve `_SERVED` weights on average.
    """
    form = _smallest(weight)
    return None if form is None else encode(weight, *form)


@by_content
def _smallest(weight: NDArray[np.float32]) -> _Form | None:
    sample = _sampled(weight)
    forms = _saving(sample, [(block, levels) for block in BLOCKS for levels in LEVELS])
    if sample is weight:
        return forms[0] if forms else None
    return next((form for form in forms if _saving(weight, [form])), None)


def _saving(weight: NDArray[np.float32], forms: list[_Form]) -> list[_Form]:
    """Those of `forms` that divide `weight` and save bytes, most first; none where the first is no find."""
    found = []
    for block, blocks in _cuts(weight, {block for block, _ in forms}):
        for levels in (levels for other, levels in forms if other == block):
            kinds, scales = classify(blocks, levels)
            unified = kinds == UNIFIED
            size = _size_bytes(blocks, kinds, scales, levels)
            if unified.any() and size < weight.nbytes:
                served = np.count_nonzero(blocks[unified]) / np.count_nonzero(unified)
                found.append((size, served, (block, levels)))
    found.sort(key=lambda one: one[0])
    return [form for _, _, form in found] if found and found[0][1] >= _SERVED else []


def _cuts(weight: NDArray[np.float32], wanted: set[Block]) -> Iterator[tuple[Block, NDArray[np.float32]]]:
    for block in (block for block in BLOCKS if block in wanted and weight.size):
        if not (weight.shape[0] % block[0] or weight.shape[1] % block[1]):
            yield block, cut(weight, block)


def _sampled(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """A few bands of output channels, evenly spaced; all of a small weight."""
    bands, size = len(weight) // _BAND, weight[:_BAND].size
    if weight.size <= _SAMPLE or bands < 2:
        return weight
    first = np.linspace(0, bands - 1, max(1, _SAMPLE // size)).astype(int)
    return np.concatenate([weight[_BAND * band : _BAND * (band + 1)] for band in np.unique(first)])


def _size_bytes(
    blocks: NDArray[np.float32], kinds: NDArray[np.uint8], scales: NDArray[np.float32], levels: tuple[float, ...]
) -> int:
    """Bytes of the format's arrays."""
    unified = int((kinds == UNIFIED).sum())
    groups = -(-unified * blocks.shape[1] // digits.GROUP)
    size = narrowest(scales[kinds == UNIFIED]).nbytes + narrowest(blocks[kinds == FREE].ravel()).nbytes
    size += groups * digits.bytes_of_group(signed_levels(levels).size)
    return int(size + (0 if unified == kinds.size else -(-kinds.size // 4)))
