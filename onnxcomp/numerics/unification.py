"""Micro-structured weight unification: blocks in which every weight has one magnitude, or is zero.

A block of W (numerics.blocks) is free, zero, or unified: each weight is m times a level and a sign (numerics.levels).
Blocks are ranked by what fixing them loses: sum w^2 for zero, sum (w - m l)^2 for unified, or on data tr(D S D^T) with
D the difference in that block alone. Those that lose least are fixed, and the rest makes good for them
(numerics.unified_refit).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.numerics.admm import LARGE, Norm, Projection, admm, iterations_for
from onnxcomp.numerics.blocks import Block
from onnxcomp.numerics.least_squares import LEFT, ROUGHLY
from onnxcomp.numerics.levels import check_levels, nearest
from onnxcomp.numerics.moments import energy
from onnxcomp.numerics.unified_refit import Kind, Unification, descend, refit

Array = NDArray[np.float64]

_POLISH = 4  # rounds of coordinate descent and refit; ten more gained less than 0.1 % of the error
_POLISH_LARGE = 1  # of a large layer, where each takes seconds: three more gained 1 %
_BITS = 18  # of a float32 magnitude, so that it times a level is exact too


@dataclass(frozen=True)
class MicroStructure:
    """The set: shares of all blocks that are unified and zero, and the levels of |w| / m in a unified one.

    Raises ValueError for shares that are none, or above 1 together, and for levels that are not (numerics.levels).
    """

    block: Block
    levels: tuple[float, ...] = (1.0,)
    unified: float = 1.0
    pruned: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", check_levels(self.levels))
        if not (self.unified >= 0 and self.pruned >= 0 and self.unified + self.pruned <= 1 + 1e-9):
            raise ValueError(f"shares of {self.unified:g} unified and {self.pruned:g} zero are none of one whole")

    def at(self, share: float) -> "MicroStructure":
        """With `share` of the unified and of the zero blocks."""
        return replace(self, unified=share * self.unified, pruned=share * self.pruned)

    def counts(self, blocks: int) -> tuple[int, int]:
        """How many of `blocks` are unified, and how many zero."""
        zero = round(self.pruned * blocks)
        return round(min(self.unified + self.pruned, 1) * blocks) - zero, zero


def split(
    weight: NDArray[np.floating],
    structure: MicroStructure,
    moment: Array | None = None,
    held: NDArray[np.int8] | None = None,
) -> Unification:
    """W (C_out, C_in / group, k...) with the blocks that lose least fixed, each as near to what it was as it can be.

    Losses are plain, or S-weighted where a `moment` is given. Blocks that are fixed in `held` (R, C) stay so. Zero
    blocks are chosen first. ValueError where W does not divide into blocks.
    """
    blocks = structure.block.cut(weight)
    scales, flat = nearest(blocks.reshape(*blocks.shape[:2], -1), structure.levels)
    factors = flat.reshape(blocks.shape)
    unifying = _losses(blocks - scales[..., None, None] * factors, weight.shape, structure, moment)
    pruning = _losses(blocks, weight.shape, structure, moment)
    if held is not None:
        unifying = np.where(held == Kind.UNIFIED, -np.inf, unifying)
        pruning = np.where(held == Kind.ZERO, -np.inf, np.where(held == Kind.UNIFIED, np.inf, pruning))
    kinds = _kinds(unifying, pruning, structure)
    double = (np.asarray(part, np.float64) for part in (scales, factors, blocks))
    return Unification(structure.block, kinds, *double)


def projection(structure: MicroStructure, held: NDArray[np.int8] | None = None) -> Projection:
    """From a weight to the one that `split` gives, by plain losses."""

    def project(weight: NDArray[Any]) -> NDArray[Any]:
        return split(weight, structure, held=held).weight(weight.shape).astype(weight.dtype)

    return project


def unify(
    weight: NDArray[np.floating],
    moment: Array,
    structure: MicroStructure,
    scales: type[np.floating] = np.float32,
    *,
    norm: Norm | None = None,
    iterations: int | None = None,
    rounds: int = 1,
    rough: bool = False,
) -> NDArray[np.float32]:
    """A weight of `structure` near W* (C_out, C_in / group, k...) in the norm of `moment`, magnitudes of type `scales`.

    ADMM finds kinds and signs, unless in a small layer W*'s own split turns out better; coordinate descent and the
    closed form then fit what can still move. With `rounds` the share of fixed blocks rises step by step, each step's
    blocks held in those that follow, as in the paper; at equal `iterations` (of all rounds together, None for as many
    as pay) one round loses less. No iterations: W*'s own split, S-weighted. `norm`, of `moment` and not scaled, spares
    its computation where a layer is fitted more than once. `rough`: in a fraction of the time, at errors some 10 %
    larger. ValueError as `split` and `as_stored`.
    """
    if iterations is None:
        iterations = max(rounds, iterations_for(len(weight), moment.shape[-1], rough=rough))
    left = ROUGHLY if rough else LEFT
    found = []
    if not iterations or moment.shape[-1] <= LARGE:
        found.append(split(np.asarray(weight, np.float64), structure, moment))
    if iterations:
        norm = Norm.of(moment, scaled=False) if norm is None else norm
        found.append(_risen(weight, moment, structure, norm, iterations, rounds))
    best = min(
        (refit(one, weight, moment, left=left) for one in found),
        key=lambda one: energy(weight - one.weight(weight.shape), moment),
    )
    for _ in range(0 if rough else _POLISH_LARGE if moment.shape[-1] > LARGE else _POLISH):
        best = refit(descend(best, weight, moment, structure.levels), weight, moment)
    stored = as_stored(best, structure.levels, scales)
    stored = descend(stored, weight, moment, structure.levels)
    return in_float32(refit(stored, weight, moment, scales=False, left=left).weight(weight.shape))


def in_float32(weight: Array) -> NDArray[np.float32]:
    """`weight` rounded to float32, what would be denormal to zero."""
    single = weight.astype(np.float32)
    return np.where(np.abs(single) < np.finfo(np.float32).tiny, np.float32(0), single)


def as_stored(found: Unification, levels: tuple[float, ...], scales: type[np.floating]) -> Unification:
    """`found` with magnitudes that are exact in the type `scales`, and times a level in float32.

    Where one is so small that the result would be denormal the block becomes zero. ValueError where the largest is
    beyond the type's normal numbers.
    """
    unified = found.kinds == Kind.UNIFIED
    m = np.where(unified, found.scales, 0.0)
    limits = np.finfo(scales)
    smallest = float(limits.tiny) / min(level for level in levels if level > 0)
    if m.max(initial=0) > (1 - 2.0**-_BITS) * limits.max or 0 < m.max(initial=0) < smallest:
        raise ValueError(f"magnitudes up to {m.max():.3g} do not fit {limits.dtype}")
    fraction, exponent = np.frexp(m)
    stored = np.ldexp(np.round(np.ldexp(fraction, _BITS)), exponent - _BITS).astype(scales).astype(np.float64)
    kept = unified & (stored >= smallest)
    return replace(found, scales=stored, kinds=np.where(unified & ~kept, Kind.ZERO, found.kinds).astype(np.int8))


def _losses(D: NDArray[np.floating], shape: tuple[int, ...], structure: MicroStructure, moment: Array | None) -> Array:
    """What the differences D (R, C, outputs, g) lose, a number a block."""
    if moment is None:
        plain: Array = np.square(D, dtype=np.float64).sum(axis=(2, 3))
        return plain
    columns = structure.block.columns(shape)
    S = moment.reshape(-1, *moment.shape[-2:])[:, columns[:, :, None], columns[:, None, :]]  # (group, C, g, g)
    by_group = D.reshape(len(S), -1, *D.shape[1:])
    result: Array = np.einsum("srcog,scgh,srcoh->src", by_group, S, by_group, optimize=True)
    return result.reshape(D.shape[:2])


def _kinds(unifying: Array, pruning: Array, structure: MicroStructure) -> NDArray[np.int8]:
    """Kinds (R, C) by losses (R, C): zero where that loses least, then unified. Ties go the same way each time."""
    unified, zero = structure.counts(pruning.size)
    kinds = np.full(pruning.size, Kind.FREE, np.int8)
    kinds[np.argsort(pruning, axis=None, kind="stable")[:zero]] = Kind.ZERO
    open_ = np.where(kinds == Kind.ZERO, np.inf, unifying.ravel())
    kinds[np.argsort(open_, kind="stable")[:unified]] = Kind.UNIFIED
    return kinds.reshape(pruning.shape)


def _risen(
    weight: NDArray[np.floating],
    moment: Array,
    structure: MicroStructure,
    norm: Norm,
    iterations: int,
    rounds: int,
) -> Unification:
    """ADMM's answer, in `rounds` of a rising share, each from the weight that the one before left, refitted."""
    current, held = np.asarray(weight, np.float64), None
    for number in range(1, rounds + 1):
        step = structure.at(number / rounds)
        Z = admm(current, norm, projection(step, held), iterations=max(1, iterations // rounds))
        found = split(Z, step, held=held)
        if number < rounds:
            found = refit(found, weight, moment)
            current, held = found.weight(weight.shape), found.kinds
    return found
