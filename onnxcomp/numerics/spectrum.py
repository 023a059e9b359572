"""What an approximation of low rank loses, for every rank at once."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigvalsh


def tail_energies(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    """The squared L2 error of the best approximation of `matrix` (m, n) of rank 0, 1, ..., min(m, n).

    From the eigenvalues of the smaller Gram matrix: absolute errors are of the order of epsilon * |matrix|^2.
    """
    M = np.asarray(matrix, np.float64)
    values = eigvalsh(M @ M.T if M.shape[0] < M.shape[1] else M.T @ M)  # smallest first
    return np.concatenate([np.cumsum(np.clip(values, 0, None))[::-1], [0.0]])
