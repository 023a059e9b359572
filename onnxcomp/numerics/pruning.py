"""Zeros that cost little on the data: ADMM finds the pattern, least squares the weights that remain."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from onnxcomp.numerics.admm import Progress, Projection, Spectrum, admm, iterations_for
from onnxcomp.numerics.moments import energy, factor, rows

Array = NDArray[np.float64]

_STEPS = 50  # of conjugate gradients, at most
_LEFT = 1e-4  # of what was gained so far: a step that gains less is the last
_SLOWER = 2.0  # times so many multiply-adds in double precision take a factor's


def prune(
    weight: NDArray[np.floating],
    moment: Array,
    project: Projection,
    *,
    spectrum: Spectrum | None = None,
    iterations: int | None = None,
    progress: Progress | None = None,
) -> Array:
    """W* (C_out, C_in / group, k...) with the zeros of a set that `project` gives (numerics.projections), refitted.

    The pattern is ADMM's, or that of W*'s own projection where this turns out better. `spectrum`, of `moment` and
    scaled, spares its computation where a layer is pruned more than once. `iterations` are as many as pay, if None.
    """
    spectrum = Spectrum.of(moment) if spectrum is None else spectrum
    iterations = iterations_for(len(weight), moment.shape[-1]) if iterations is None else iterations
    found = admm(weight, spectrum, project, iterations=iterations, progress=progress)
    scaled = rows(weight, moment) * spectrum.scale[..., None, :]
    plain = project(scaled.reshape(weight.shape))
    fits = [refit(weight, moment, pattern != 0) for pattern in (found, plain)]
    return min(fits, key=lambda fit: energy(weight - fit, moment))


def refit(weight: NDArray[np.floating], moment: Array, kept: NDArray[np.bool_]) -> Array:
    """The weight nearest to W* in the norm of `moment` among those that are zero outside `kept`.

    In each row w, with K kept and D dropped: w_K = w*_K + S_KK^-1 S_KD w*_D. Rows of one pattern share the factor.
    """
    W = rows(weight, moment)
    groups = (part.reshape(-1, *part.shape[-2:]) for part in (W, moment, kept.reshape(W.shape)))
    return np.stack([_refit(*group) for group in zip(*groups, strict=True)]).reshape(weight.shape)


def _refit(W: Array, S: Array, kept: NDArray[np.bool_]) -> Array:
    patterns, members = np.unique(kept, axis=0, return_inverse=True)
    by_factor = int((np.count_nonzero(patterns, axis=1).astype(np.float64) ** 3).sum()) / 3
    if by_factor > _SLOWER * _STEPS * W.size * len(S):
        return _descended(W, S, kept)
    result = np.where(kept, W, 0)
    dropped = (W - result) @ S  # S_KD w*_D in the columns K
    for index, pattern in enumerate(patterns):
        K = np.flatnonzero(pattern)
        if 0 < len(K) < len(pattern):
            mine = np.flatnonzero(members == index)[:, None]
            result[mine, K] += cho_solve((factor(S[np.ix_(K, K)]), True), dropped[mine, K].T).T
    return result


def _descended(W: Array, S: Array, kept: NDArray[np.bool_]) -> Array:
    """The same but for `_LEFT` of what is gained: all rows at once, by conjugate gradients scaled by S's diagonal.

    In single precision: each step moves to the least along its direction, so that rounding makes none of them harmful.
    """
    single, keep = S.astype(np.float32), kept.astype(np.float32)
    inverse = 1 / np.maximum(np.diagonal(single), np.finfo(np.float32).tiny)
    X = np.where(kept, W, 0).astype(np.float32)
    residual = (((W - X) @ S) * kept).astype(np.float32)
    direction = np.zeros_like(X)
    last, gained = np.zeros(len(X), np.float32), 0.0
    for _ in range(_STEPS):
        scaled = residual * inverse
        slope = np.einsum("oq,oq->o", residual, scaled)
        direction = scaled + _over(slope, last)[:, None] * direction
        ahead = (direction @ single) * keep
        length = _over(slope, np.einsum("oq,oq->o", direction, ahead))
        X += length[:, None] * direction
        residual -= length[:, None] * ahead
        last, gain = slope, float(length @ slope)
        gained += gain
        if gain <= _LEFT * gained:
            break
    return X.astype(np.float64)


def _over(numerator: NDArray[np.float32], denominator: NDArray[np.float32]) -> NDArray[np.float32]:
    """The quotients; zero where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
