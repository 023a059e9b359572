"""Zeros that cost little on the data: ADMM finds the pattern, least squares the weights that remain."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from onnxcomp.numerics.admm import LARGE, Norm, Progress, Projection, admm, iterations_for
from onnxcomp.numerics.least_squares import LEFT, ROUGHLY, conjugate_gradients
from onnxcomp.numerics.moments import energy, factor, rows

Array = NDArray[np.float64]

_SMALL = 128  # Q, up to which factors for all rows take milliseconds
_PRODUCTS = 0.25  # of W and S: as many multiply-adds in small factors take as long as conjugate gradients


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
        return refit(weight, moment, found != 0, left)
    scaled = rows(weight, moment) * norm.scale[..., None, :]
    plain = project(scaled.reshape(weight.shape))
    fits = [refit(weight, moment, pattern != 0, left) for pattern in (found, plain)]
    return min(fits, key=lambda fit: energy(weight - fit, moment))


def refit(weight: NDArray[np.floating], moment: Array, kept: NDArray[np.bool_], left: float = LEFT) -> Array:
    """The weight nearest to W* in the norm of `moment` among those that are zero outside `kept`.

    In each row w, with K kept and D dropped: w_K = w*_K + S_KK^-1 S_KD w*_D. Rows of one pattern share the factor;
    many patterns are fitted at once until `left` is gained (numerics.least_squares).
    """
    W = rows(weight, moment)
    groups = (part.reshape(-1, *part.shape[-2:]) for part in (W, moment, kept.reshape(W.shape)))
    return np.stack([_refit(*group, left=left) for group in zip(*groups, strict=True)]).reshape(weight.shape)


def _refit(W: Array, S: Array, kept: NDArray[np.bool_], *, left: float) -> Array:
    patterns, members = np.unique(kept, axis=0, return_inverse=True)
    by_factor = int((np.count_nonzero(patterns, axis=1).astype(np.float64) ** 3).sum()) / 3
    result = np.where(kept, W, 0)
    dropped = (W - result) @ S  # S_KD w*_D in the columns K
    if len(S) > _SMALL and by_factor > _PRODUCTS * W.size * len(S):
        return result + conjugate_gradients(dropped, S, np.where(kept, np.diagonal(S), 0), left=left)
    for index, pattern in enumerate(patterns):
        K = np.flatnonzero(pattern)
        if 0 < len(K) < len(pattern):
            mine = np.flatnonzero(members == index)[:, None]
            result[mine, K] += cho_solve((factor(S[np.ix_(K, K)]), True), dropped[mine, K].T).T
    return result
