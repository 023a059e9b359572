"""Slow and plain references for the solvers."""

import numpy as np


def random_moment(size: int, rng: np.random.Generator, decay: float = 1.0) -> np.ndarray:
    """An ill-conditioned second moment (size, size): eigenvalues fall as index ** -2 decay."""
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    return (basis * np.arange(1, size + 1.0) ** (-2 * decay)) @ basis.T


def exact_obs(row: np.ndarray, moment: np.ndarray, zeros: int) -> np.ndarray:
    """ExactOBS (Frantar et al., 2022): drop the weight with the least w^2 / Hinv_pp, correct the rest, repeat."""
    return _exact_obs_path(row, moment, zeros)[0][-1]


def exact_obs_layer(weight: np.ndarray, moment: np.ndarray, zeros: int) -> np.ndarray:
    """The same for a weight (rows, columns): of the zeros of all rows' paths those that cost least (section 4)."""
    paths = [_exact_obs_path(row, moment, len(row)) for row in weight]
    costs = np.array([cost for _, cost in paths])  # each row's fall into its zeros in order
    counts = np.zeros(len(weight), int)
    for _ in range(zeros):
        ahead = [costs[i, n] if n < weight.shape[1] else np.inf for i, n in enumerate(counts)]
        counts[int(np.argmin(ahead))] += 1
    return np.stack([path[n] for (path, _), n in zip(paths, counts, strict=True)])


def _exact_obs_path(row: np.ndarray, moment: np.ndarray, zeros: int) -> tuple[list[np.ndarray], list[float]]:
    """The row with 0, 1, ... `zeros` zeros, and what each of these costs."""
    w, alive = row.copy(), list(range(len(row)))
    path, costs = [w.copy()], []
    for _ in range(zeros):
        inverse = np.linalg.inv(moment[np.ix_(alive, alive)])
        loss = w[alive] ** 2 / np.diag(inverse)
        p = int(np.argmin(loss))
        costs.append(float(loss[p]))
        w[alive] -= w[alive[p]] / inverse[p, p] * inverse[:, p]
        w[alive.pop(p)] = 0
        path.append(w.copy())
    return path, costs
