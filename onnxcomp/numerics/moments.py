"""Second moments of a layer's input, and what they say of a weight that stands in for another.

With S = E[x x^T] of the im2col input x, tr((W - W') S (W - W')^T) is the expected squared error of the layer's output.
A moment is (Q, Q), or (group, Q, Q) where groups of channels see inputs of their own.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky

Array = NDArray[np.float64]


def rows(weight: NDArray[np.floating], moment: NDArray[np.floating]) -> Array:
    """W (C_out, C_in / group, k...) as (C_out, Q), or with a stack of moments as (group, C_out / group, Q)."""
    Q = moment.shape[-1]
    return np.asarray(weight, np.float64).reshape(*moment.shape[:-2], -1, Q)


def weighted_error(weight: NDArray[np.floating], other: NDArray[np.floating], moment: Array) -> float:
    """tr((W - W') S (W - W')^T) / tr(W S W^T): the square of the relative L2 error of the output.

    Both weights are (C_out, C_in / group, k...). Where W gives nothing it is 0 if W' gives nothing either, else
    infinite.
    """
    error = energy(np.asarray(weight, np.float64) - other, moment)
    whole = energy(weight, moment)
    if whole > 0:
        return error / whole
    return float("inf") if error > 0 else 0.0


def energy(weight: NDArray[np.floating], moment: Array) -> float:
    """tr(W S W^T), the expected square of the output summed over its channels."""
    W = rows(weight, moment)
    return max(float(np.vdot(W @ moment, W)), 0.0)


def damped(moment: Array, damping: float = 0.01) -> Array:
    """S + damping * mean(diag S) * I: directions the data never showed still count for something."""
    result = moment.copy()
    np.einsum("...ii->...i", result)[...] += damping * np.diagonal(moment, axis1=-2, axis2=-1).mean(axis=-1)[..., None]
    return result


def output_statistics(weight: NDArray[np.floating], moment: Array, mean: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (C_out) of W x, given S and E[x] (Q) or (group, Q), without running anything.

    With them a stand-in W' is brought back to the statistics of W: rows scaled by std / std' (`restoring_scale`), and
    the bias raised by what then is left of mean - mean'.
    """
    W = rows(weight, moment)
    means = (W @ mean[..., None]).ravel()
    squares = np.einsum("...oq,...oq->...o", W @ moment, W).ravel()
    return means, np.sqrt(np.maximum(squares - means**2, 0))


def restoring_scale(weight: NDArray[np.floating], moment: Array, std: Array) -> Array:
    """The factors (C_out) with which the rows of W' give outputs of the standard deviations `std` (C_out).

    `moment` is about the mean. One for a row that is constant on the data, or is to be: no factor makes it what it
    should be.
    """
    _, found = output_statistics(weight, moment, np.zeros(moment.shape[:-1]))
    varies = (found > 0) & (std > 0)
    return np.divide(std, found, out=np.ones_like(found), where=varies)


def target(cross: Array, moment: Array, prior: NDArray[np.floating] | None = None, damping: float = 0.0) -> Array:
    """W* = G H^-1 in rows: what best turns the compressed network's inputs x' into the dense network's outputs y.

    G = E[y x'^T] is `cross` (C_out, Q), H = E[x' x'^T] is `moment`, both with a leading axis of groups or without.
    tr((W* - W') H (W* - W')^T) is, up to a constant, the error of W' x' against y, so (W*, H) is a problem like any
    other. `damping` (of H's mean diagonal) and what H cannot tell draw W* to `prior`, the dense weight, or to zero.
    """
    W = np.zeros_like(cross) if prior is None else rows(prior, moment)
    H = damped(moment, damping)
    pairs = zip(*(part.reshape(-1, *part.shape[-2:]) for part in (H, cross - W @ moment)), strict=True)
    steps = [cho_solve((factor(one), True), residual.T).T for one, residual in pairs]
    result: Array = W + np.stack(steps).reshape(W.shape)
    return result


def factor(matrix: Array) -> Array:
    """L with L L^T = `matrix` (n, n), symmetric; jitter is added to one that is not positive definite, least first.

    Raises ValueError where `matrix` is not finite or so far from positive definite that nobody can mean it.
    """
    scale = float(np.diagonal(matrix).mean())
    for jitter in (1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0):
        shifted = matrix.copy()
        np.einsum("ii->i", shifted)[:] += jitter * (abs(scale) or 1.0)
        try:
            L: Array = cholesky(shifted.T, lower=True, overwrite_a=True)  # as LAPACK has it, so in place
        except LinAlgError:
            continue
        return L
    raise ValueError(f"a matrix of size {len(matrix)} and mean diagonal {scale:g} is no second moment: not positive")
