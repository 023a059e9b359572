"""Zeros that cost little on the data: ADMM finds the pattern, least squares the weights that remain."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from onnxcomp.numerics.admm import LARGE, Norm, Progress, Projection, admm, iterations_for
from onnxcomp.numerics.least_squares import LEFT, ROUGHLY, conjugate_gradients
from onnxcomp.numerics.moments import energy, factor, rows

Array = NDArray[np.float64]

_FEW = 8  # patterns, each with a factor; more are fitted at once


def prune(
    weight: NDArray[np.floating],
    moment: Array,
    project: Projection,
    *,
    norm: Norm | None = None,
    iterations: int | None = None,
    rough: bool = False,
    progress: Progress | None = None,
) -> Array:
    """W* (C_out, C_in / group, k...) with the zeros of a set that `project` gives (numerics.projections), refitted.

    The pattern is ADMM's, or in a small layer that of W*'s own projection where this turns out better. `norm`, of
    `moment` and scaled, spares its computation where a layer is pruned more than once. `iterations`: None for as many
    as pay. `rough`: in a fraction of the time, at errors some 10 % larger.
    """
    norm = Norm.of(moment) if norm is None else norm
    if iterations is None:
        iterations = iterations_for(len(weight), moment.shape[-1], rough=rough)
    left = ROUGHLY if rough else LEFT
    found = admm(weight, norm, project, iterations=iterations, progress=progress)
    if moment.shape[-1] > LARGE:
        return refit(weight, moment, found, left)
    scaled = rows(weight, moment) * norm.scale[..., None, :]
    plain = np.where(project(scaled.reshape(weight.shape)), weight, 0)
    fits = [refit(weight, moment, start, left) for start in (found, plain)]
    return min(fits, key=lambda fit: energy(weight - fit, moment))


def refit(weight: NDArray[np.floating], moment: Array, start: NDArray[np.floating], left: float = LEFT) -> Array:
    """The weight nearest to W* in the norm of `moment` among those that are zero where `start` is.

    In each row w, with K kept from w0 of the start: w_K = w0_K + S_KK^-1 ((w* - w0) S)_K. Rows of one pattern share the
    factor; more than a few patterns are fitted at once, from the start until `left` (numerics.least_squares).
    """
    W = rows(weight, moment)
    groups = (part.reshape(-1, *part.shape[-2:]) for part in (W, moment, rows(start, moment)))
    return np.stack([_refit(*group, left=left) for group in zip(*groups, strict=True)]).reshape(weight.shape)


def _refit(W: Array, S: Array, start: Array, *, left: float) -> Array:
    kept = start != 0
    start = np.where(kept.all(axis=1, keepdims=True), W, start)
    patterns, members = np.unique(kept, axis=0, return_inverse=True)
    if len(patterns) > _FEW:
        return start + conjugate_gradients(W - start, S, np.where(kept, np.diagonal(S), 0), left=left)
    result, residual = start.copy(), (W - start) @ S
    for index, pattern in enumerate(patterns):
        K = np.flatnonzero(pattern)
        if 0 < len(K) < len(pattern):
            mine = np.flatnonzero(members == index)[:, None]
            result[mine, K] += cho_solve((factor(S[np.ix_(K, K)]), True), residual[mine, K].T).T
    return result
