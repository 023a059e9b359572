"""The least-squares half of a Kronecker decomposition: one factor, given the other.

Of A given B here, with p = (c1, h1, w1) and q = (c2, h2, w2); B given A is the same with p and q exchanged.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from onnxcomp.numerics.moments import factor

Array = NDArray[np.float64]

_CHUNK = 1 << 24  # numbers in a temporary, 134 MB


def gram(S: Array, B: Array) -> Array:
    """G[r p, r' p'] = sum over f, q, q' of B[r, f, q] S[p, q, p', q'] B[r', f, q'], for B (R, F, q).

    Sums over f last where that is less work, as it is for few rows f, and first, over pairs of terms, otherwise.
    """
    p, R = S.shape[0], B.shape[0]
    by_row, by_pair = _macs(S.shape[0], *B.shape)
    G = _gram_by_row(S, B) if by_row <= by_pair else _gram_by_pair(S, B)
    return G.reshape(R * p, R * p)


def gram_macs(p: int, R: int, F: int, q: int) -> int:
    """Multiply-adds of `gram`."""
    return min(_macs(p, R, F, q))


def _macs(p: int, R: int, F: int, q: int) -> tuple[int, int]:
    return F * (R * (p * q) ** 2 + R * R * p * p * q), R * R * ((p * q) ** 2 + q * q * F)


def _gram_by_row(S: Array, B: Array) -> Array:
    p, R = S.shape[0], B.shape[0]
    G = np.zeros((R, p, p, R))
    for b in B.transpose(1, 0, 2):  # (R, q)
        G += np.tensordot(b, S @ b.T, axes=(1, 1))
    return G.transpose(0, 1, 3, 2)


def _gram_by_pair(S: Array, B: Array) -> Array:
    p, (R, _, q) = S.shape[0], B.shape
    G = np.empty((R, p, R, p))
    step = max(1, _CHUNK // (R * q * q))
    for first in range(0, R, step):
        some = slice(first, first + step)
        pairs = np.tensordot(B[some], B, axes=(1, 1)).transpose(1, 3, 0, 2)  # (q, q', r, r')
        table = pairs.reshape(q * q, -1)
        for i in range(p):
            slab = S[i].transpose(1, 0, 2).reshape(p, q * q) @ table  # (p', r r')
            G[some, i] = slab.reshape(p, -1, R).transpose(1, 2, 0)
    return G


def improve(X: Array, G: Array, target: Array) -> tuple[Array, float]:
    """X (rows, n) moved to where X G = `target`, and by how much tr(X G X^T) - 2 tr(X target^T) fell.

    Only the step is solved for, so what G cannot tell stays as it is and X never gets worse.
    """
    residual = target - X @ G
    step = cho_solve((factor(G), True), residual.T).T
    gain = 2 * float(np.vdot(step, residual)) - float(np.vdot(step @ G, step))
    return (X + step, gain) if gain > 0 else (X, 0.0)
