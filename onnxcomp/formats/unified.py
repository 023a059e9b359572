"""The unified format: a weight in micro-blocks, in each of which all magnitudes are a few multiples of one.

    weight (C_out, C_in / group, k...), cut into blocks of go successive output channels x gi successive input channels
    at one tap; go divides C_out and gi divides C_in / group

      -> kinds   uint8   [ceil(n / 4)]  of block i, in row-major order of (C_out / go, C_in / group / gi, k...), bits
                                        2 (i % 4) and up of byte i // 4: 0 zero, 1 unified, 2 free;
                         [0]            instead, where every block is unified
         scales  float32 [u]            the scale of each unified block, positive and finite, blocks in the same order;
                 float16 [u]            instead, where that loses nothing
         digits  uint8                  which level each weight of the unified blocks has: go x gi of them a block, in
                                        row-major order, as digits of base B (digits.py); B is the number of levels
         values  float32 [f go gi]      the free blocks, in the same orders; float16 where that loses nothing

A weight of a unified block is its level times the block's scale, rounded to float32. Levels are the same in all of a
weight: of {1} they are 1 and -1, of {1, 1/2, 0} they are 1, -1, 1/2, -1/2 and 0, in the order of the digits 0, 1, ...
The file is consistent exactly when the lengths agree, kinds has no 3, no number in digits is too large for its 16
digits, and unused bits and digits are zero. Blocks of 4x4 with float16 scales take 1/16 of dense float32 with the
levels of {1}, 7/64 with those of {1, 1/2, 0}; kinds adds 1/256.

The blocks are those of micro-structured weight unification and pruning (2021).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxcomp.formats import digits as packed_digits
from onnxcomp.formats.bitmap import narrowest

ZERO, UNIFIED, FREE = range(3)
Block = tuple[int, int]  # output channels, input channels
_OF_A_BYTE = 4  # kinds


@dataclass(frozen=True)
class Unified:
    """A weight in the unified format; see the module's head for the layout. `levels` are the magnitudes, falling."""

    block: Block
    levels: tuple[float, ...]
    kinds: NDArray[np.uint8]
    scales: NDArray[np.floating]
    digits: NDArray[np.uint8]
    values: NDArray[np.floating]

    @property
    def size_bytes(self) -> int:
        """Bytes the four arrays take in the file."""
        return int(self.kinds.nbytes + self.scales.nbytes + self.digits.nbytes + self.values.nbytes)


def signed_levels(levels: tuple[float, ...]) -> NDArray[np.float32]:
    """What the digits 0, 1, ... stand for: each magnitude and its negative, 0 once.

    Raises ValueError unless `levels` are float32 numbers that fall from 1 and are not negative, few enough for a base.
    """
    exact = np.array(levels, np.float32)
    if exact.size == 0 or exact[0] != 1 or not (np.diff(exact) < 0).all() or exact[-1] < 0:
        raise ValueError(f"levels are {list(levels)}: they must fall from 1 and not be negative")
    if (exact != np.array(levels)).any():
        raise ValueError(f"levels are {list(levels)}: float32 does not hold them exactly")
    signed = [s for level in exact for s in ((level, -level) if level else (level,))]
    if len(signed) > packed_digits.MOST:
        raise ValueError(f"{len(signed)} levels with their signs, {packed_digits.MOST} is the most")
    return np.array(signed, np.float32)


def encode(weight: NDArray[np.float32], block: Block, levels: tuple[float, ...] = (1.0,)) -> Unified:
    """Encode `weight`: every block that its own values allow is unified, the others are zero or free.

    Negative zeros count as zeros; blocks with NaN or Inf are free. Raises ValueError where `block` does not divide the
    weight or `levels` are none (signed_levels).
    """
    signed = signed_levels(levels)
    blocks = cut(weight, block)
    kinds, scales = classify(blocks, levels)
    unified = kinds == UNIFIED
    of_unified = blocks[unified]
    digits = np.zeros(of_unified.shape, np.uint8)
    for digit, level in enumerate(signed):
        digits[of_unified == level * scales[unified, None]] = digit
    return Unified(
        block,
        tuple(levels),
        np.zeros(0, np.uint8) if unified.all() else _pack_kinds(kinds),
        narrowest(scales[unified]),
        packed_digits.pack(digits.ravel(), signed.size),
        narrowest(blocks[kinds == FREE].ravel()),
    )


def cut(weight: NDArray[np.float32], block: Block) -> NDArray[np.float32]:
    """The blocks (n, go gi) of `weight`, zeros positive. Raises ValueError where `block` does not divide it."""
    blocks_out, blocks_in, taps = _grid(weight.shape, block)
    apart = np.ascontiguousarray(weight, np.float32).reshape(blocks_out, block[0], blocks_in, block[1], taps)
    return apart.transpose(0, 2, 4, 1, 3).reshape(-1, block[0] * block[1]) + np.float32(0)


def classify(blocks: NDArray[np.float32], levels: tuple[float, ...]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The kind of each of `blocks` (n, go gi), and the scale of those that are unified, 0 elsewhere."""
    magnitudes = np.abs(blocks)
    largest = magnitudes.max(axis=1, initial=0)
    kinds = np.where(largest == 0, ZERO, FREE).astype(np.uint8)
    scales = np.zeros(len(blocks), np.float32)
    exact = np.array(levels, np.float32)
    for level in exact[exact > 0]:
        with np.errstate(over="ignore"):
            scale = largest / level
        usable = np.isfinite(scale) & (scale * exact[exact > 0][-1] > 0)
        left = np.flatnonzero((kinds == FREE) & usable)
        fits = np.zeros((left.size, blocks.shape[1]), bool)
        for other in exact:
            fits |= magnitudes[left] == other * scale[left, None]
        found = left[fits.all(axis=1)]
        kinds[found] = UNIFIED
        scales[found] = scale[found]
    return kinds, scales


def _pack_kinds(kinds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    bits = np.stack([kinds & 1, kinds >> 1], axis=1).ravel()
    return np.packbits(bits, bitorder="little")


def decode(stored: Unified, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The weight, of `shape`. Raises ValueError where the arrays, `shape` and the block disagree."""
    signed = signed_levels(stored.levels)
    blocks_out, blocks_in, taps = _grid(shape, stored.block)
    size = stored.block[0] * stored.block[1]
    kinds = _unpack_kinds(stored.kinds, blocks_out * blocks_in * taps)
    unified, free = kinds == UNIFIED, kinds == FREE
    if int(unified.sum()) != stored.scales.size:
        raise ValueError(f"kinds marks {int(unified.sum())} unified blocks, {stored.scales.size} scales are stored")
    if not ((stored.scales > 0) & np.isfinite(stored.scales)).all():
        raise ValueError("scales must be positive and finite")
    if int(free.sum()) * size != stored.values.size:
        raise ValueError(f"kinds marks {int(free.sum())} free blocks of {size}, {stored.values.size} values are stored")
    digits = packed_digits.unpack(stored.digits, stored.scales.size * size, signed.size)
    blocks = np.zeros((kinds.size, size), np.float32)
    blocks[unified] = signed[digits].reshape(-1, size) * stored.scales.astype(np.float32)[:, None]
    blocks[free] = stored.values.reshape(-1, size)
    apart = blocks.reshape(blocks_out, blocks_in, taps, *stored.block)
    return apart.transpose(0, 3, 1, 4, 2).reshape(shape)


def _unpack_kinds(kinds: NDArray[np.uint8], blocks: int) -> NDArray[np.uint8]:
    if kinds.size == 0:
        return np.full(blocks, UNIFIED, np.uint8)
    if kinds.size != -(-blocks // _OF_A_BYTE):
        raise ValueError(f"kinds has {kinds.size} bytes, {blocks} blocks need {-(-blocks // _OF_A_BYTE)}")
    bits = np.unpackbits(kinds, bitorder="little").reshape(-1, 2)
    unpacked: NDArray[np.uint8] = bits[:, 0] + 2 * bits[:, 1]
    if unpacked[blocks:].any():
        raise ValueError("kinds has bits set past its last block")
    if (unpacked > FREE).any():
        raise ValueError("kinds has a block of kind 3, which there is none")
    return unpacked[:blocks]


def _grid(shape: tuple[int, ...], block: Block) -> tuple[int, int, int]:
    """Blocks along the output channels, along the input channels, and taps."""
    if len(shape) < 2 or shape[0] % block[0] or shape[1] % block[1]:
        raise ValueError(f"blocks of {block[0]}x{block[1]} do not divide a weight of shape {tuple(shape)}")
    return shape[0] // block[0], shape[1] // block[1], int(np.prod(shape[2:], dtype=np.int64))
