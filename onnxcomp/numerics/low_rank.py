"""The best approximation of a matrix by one of low rank."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Matrix = NDArray[np.float64]


def truncated_svd(matrix: NDArray[np.floating], rank: int) -> tuple[Matrix, Matrix]:
    """U s (m, rank) and V^T (rank, n), whose product is the best approximation of `matrix` (m, n) in the L2 norm.

    The eigenvectors of the smaller Gram matrix are a basis to project on, so what is lost to squaring is of the order
    of epsilon * s_1^2 / s_rank: below the precision of weights stored in float32. Signs are fixed: the entry of each
    row of V^T that is largest in magnitude is positive. Raises ValueError where `matrix` is not finite.
    """
    M = np.asarray(matrix, np.float64)
    if M.shape[0] < M.shape[1]:
        left = _leading(M @ M.T, rank)
        right = left.T @ M
        scale = np.linalg.norm(right, axis=1)
        right /= np.where(scale > 0, scale, 1)[:, None]
        left = left * scale
    else:
        right = _leading(M.T @ M, rank).T
        left = M @ right.T
    largest = np.abs(right).argmax(axis=1)
    signs = np.where(right[np.arange(rank), largest] < 0, -1.0, 1.0)
    return left * signs, right * signs[:, None]


def _leading(gram: Matrix, count: int) -> Matrix:
    """The eigenvectors of the `count` largest eigenvalues, largest first, one a column."""
    size = len(gram)
    vectors: Matrix = eigh(gram, subset_by_index=(size - count, size - 1))[1]
    return vectors[:, ::-1]
