"""One magnitude for many weights: |w| is m times one of a few levels, {1}, {1, 0}, {1, 1/2, 0}, and the sign is free.

For one level, 1, the m that is nearest in the L2 norm is mean |w| (weight unification; XNOR-Net, Rastegari et al.,
ECCV 2016, equation 6). For more the best m is found exactly: as m grows from 0 each |w| leaves a level for the next
lower one at m = |w| / (half the sum of the two), so sorting these places walks through every assignment that can be the
best.
"""

import numpy as np
from numpy.typing import NDArray

_PARTS = 64  # times a level, a float32 magnitude that has a few bits to spare stays exact


def check_levels(levels: tuple[float, ...]) -> tuple[float, ...]:
    """`levels` from the highest down. ValueError for any but different multiples of 1/64 from 0 to 1, 1 among them."""
    ordered = tuple(sorted(levels, reverse=True))
    whole = all(0 <= level <= 1 and (level * _PARTS).is_integer() for level in ordered)
    if not whole or ordered[:1] != (1,) or len(set(ordered)) < len(ordered):
        raise ValueError(f"levels {list(levels)}: give different multiples of 1/{_PARTS}, 0 to 1, with 1 among them")
    return ordered


def nearest(
    blocks: NDArray[np.floating], levels: tuple[float, ...]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """m (...) >= 0 and factors (..., n), levels with signs, whose product is nearest to `blocks` (..., n).

    `levels` are from the highest down. Both have the type of `blocks`. Where a block is all zeros so is m.
    """
    size, L = np.abs(blocks), np.array(levels, blocks.dtype)
    m = _best_scale(size, L)
    factors = factors_at(blocks, m, levels)
    return refit_scale(blocks, factors), factors


def factors_at(
    blocks: NDArray[np.floating], scales: NDArray[np.floating], levels: tuple[float, ...]
) -> NDArray[np.floating]:
    """The factors (..., n) that bring scales (...) nearest to `blocks` (..., n)."""
    L = np.array(levels, blocks.dtype)
    between = (L[:-1] + L[1:]) / 2
    size = np.abs(blocks)
    chosen = np.full(blocks.shape, L[0])
    for middle, lower in zip(between, L[1:], strict=True):
        chosen = np.where(size < scales[..., None] * middle, lower, chosen)
    return np.where(blocks < 0, -chosen, chosen)


def refit_scale(blocks: NDArray[np.floating], factors: NDArray[np.floating]) -> NDArray[np.floating]:
    """The m (...) for which m * factors (..., n) is nearest to `blocks`; 0 where all factors are."""
    squares = np.square(factors).sum(axis=-1)
    result: NDArray[np.floating] = (blocks * factors).sum(axis=-1) / np.where(squares > 0, squares, 1)
    return result


def _best_scale(size: NDArray[np.floating], L: NDArray[np.floating]) -> NDArray[np.floating]:
    """The best m for magnitudes `size` (..., n). The loss is |size|^2 - A^2 / B with A = size . l and B = l . l."""
    steps = (size[..., None] / ((L[:-1] + L[1:]) / 2)).reshape(*size.shape[:-1], -1)
    order = np.argsort(steps, axis=-1, kind="stable")
    A = _walk(L[0] * size.sum(axis=-1), (size[..., None] * np.diff(L)).reshape(steps.shape), order)
    B = _walk(np.full(size.shape[:-1], L[0] ** 2 * size.shape[-1], L.dtype), _everywhere(np.diff(L**2), size), order)
    if L[-1] == 0 and len(L) > 1:
        A, B = A[..., :-1], B[..., :-1]  # the last step leaves nothing at all
    best = np.argmax(A**2 / B, axis=-1)[..., None]
    result: NDArray[np.floating] = np.take_along_axis(A / B, best, axis=-1)[..., 0]
    return result


def _everywhere(values: NDArray[np.floating], size: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.broadcast_to(values, (*size.shape, len(values))).reshape(*size.shape[:-1], -1)


def _walk(start: NDArray[np.floating], changes: NDArray[np.floating], order: NDArray[np.intp]) -> NDArray[np.floating]:
    """`start` (...), then with one change (..., steps) after the other, in their order: (..., 1 + steps)."""
    ordered = np.take_along_axis(changes, order, axis=-1)
    return np.cumsum(np.concatenate([start[..., None], ordered], axis=-1), axis=-1)
