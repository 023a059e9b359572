"""Zeros that cost little on the data: ADMM finds the pattern, a closed form the weights that remain."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from onnxcomp.numerics.admm import ITERATIONS, Progress, Projection, Spectrum, admm
from onnxcomp.numerics.moments import energy, factor, rows

Array = NDArray[np.float64]


def prune(
    weight: NDArray[np.floating],
    moment: Array,
    project: Projection,
    *,
    spectrum: Spectrum | None = None,
    iterations: int = ITERATIONS,
    progress: Progress | None = None,
) -> Array:
    """W* (C_out, C_in / group, k...) with the zeros of a set that `project` gives (numerics.projections), refitted.

    The pattern is ADMM's, or that of W*'s own projection where this turns out better. `spectrum`, of `moment` and
    scaled, spares its computation where a layer is pruned more than once.
    """
    spectrum = Spectrum.of(moment) if spectrum is None else spectrum
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
    result = np.where(kept, W, 0)
    dropped = (W - result) @ S  # S_KD w*_D in the columns K
    patterns, members = np.unique(kept, axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        K = np.flatnonzero(pattern)
        if 0 < len(K) < len(pattern):
            mine = np.flatnonzero(members == index)[:, None]
            result[mine, K] += cho_solve((factor(S[np.ix_(K, K)]), True), dropped[mine, K].T).T
    return result
