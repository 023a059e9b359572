"""Slow and plain references for the solvers."""

import numpy as np


def random_moment(size: int, rng: np.random.Generator, decay: float = 1.0) -> np.ndarray:
    """An ill-conditioned second moment (size, size): eigenvalues fall as index ** -2 decay."""
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    return (basis * np.arange(1, size + 1.0) ** (-2 * decay)) @ basis.T


def exact_obs(row: np.ndarray, moment: np.ndarray, zeros: int) -> np.ndarray:
    """ExactOBS (Frantar et al., 2022): drop the weight with the least w^2 / Hinv_pp, correct the rest, repeat."""
    w, alive = row.copy(), list(range(len(row)))
    for _ in range(zeros):
        inverse = np.linalg.inv(moment[np.ix_(alive, alive)])
        p = int(np.argmin(w[alive] ** 2 / np.diag(inverse)))
        w[alive] -= w[alive[p]] / inverse[p, p] * inverse[:, p]
        w[alive.pop(p)] = 0
    return w
