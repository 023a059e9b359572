"""The rank of an unfolded weight, from a few of its rows and columns.

A random block of a matrix of rank r has rank r at most, and r where it is large enough but for bad luck. So a block of
r + 1 rows that are independent rules the rank r out, at the price of that block.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cholesky, svdvals

from onnxcomp.numerics.kronecker import KroneckerShape

_SMALLEST = 32  # rows and columns of the first block
_GROWTH = 4
ROUNDING = 1e-6  # of a matrix's L2 norm: singular values below are what rounding to float32 leaves


def sampled_rank(weight: NDArray[np.floating], shape: KroneckerShape, limit: int) -> int | None:
    """An estimate, from below, of the rank of W (F, C, kh, kw) unfolded by `shape`; None where it exceeds `limit`."""
    rng = np.random.default_rng(0)
    rows, columns = (rng.permutation(size) for size in shape.unfolded)
    if _independent(_block(weight, shape, rows[: limit + 1], columns[: 2 * (limit + 1)])):
        return None
    size = _SMALLEST
    while True:
        block = _block(weight, shape, rows[:size], columns[:size])
        rank = int(np.count_nonzero(svdvals(block) > ROUNDING * np.linalg.norm(block)))
        if rank > limit:
            return None
        if 2 * rank <= size or size >= min(shape.unfolded):
            return rank
        size *= _GROWTH


def _independent(block: NDArray[np.float64]) -> bool:
    """Whether all rows (or columns, where they are fewer) are independent by more than rounding."""
    gram = block @ block.T if block.shape[0] <= block.shape[1] else block.T @ block
    gram[np.diag_indices_from(gram)] -= ROUNDING**2 * np.trace(gram)
    try:
        cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        return False
    return True


def _block(
    weight: NDArray[np.floating], shape: KroneckerShape, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Rows and columns of the unfolded weight, without unfolding the rest."""
    a, b = np.unravel_index(rows, shape.a), np.unravel_index(columns, shape.b)
    where = tuple(i[:, None] * size + j for i, j, size in zip(a, b, shape.b, strict=True))
    block: NDArray[np.float64] = weight[where].astype(np.float64)
    return block
