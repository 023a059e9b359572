"""Kronecker terms that are close where the data is: alternating least squares in the norm of a second moment.

    minimise tr((W - W') S (W - W')^T)  over  W' = sum_{r <= R} A_r (x) B_r

Given B this is linear least squares in A whose rows f1 share one matrix of normal equations, and the other way round.
With p = (c1, h1, w1) and q = (c2, h2, w2), the axes of an im2col input as A and as B see it:

    A[f1, r p] G[r p, r' p'] = unfold(W S)[f1 p, f2 q] B[r, f2 q],   G = sum_f2 B[., f2, q] S[p q, p' q'] B[., f2, q']

Shared bases and a low rank across channels are shapes of this one problem (numerics.kronecker). The start is the better
of two SVDs, the plain one and the one whitened by the Kronecker product of S's partial traces; where A sees no input
(p = 1, as for a low rank across channels) the latter is the optimum already.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from onnxcomp.numerics import kronecker
from onnxcomp.numerics.kronecker import Factors, KroneckerShape, reconstruct, unfold
from onnxcomp.numerics.low_rank import truncated_svd
from onnxcomp.numerics.moments import energy, factor, rows
from onnxcomp.numerics.normal_equations import gram, gram_macs, improve

Array = NDArray[np.float64]

SWEEPS = 8  # at most
MAX_UNKNOWNS = 4096  # of one row: 134 MB of normal equations, a second to factor
WORK = 3e11  # multiply-adds that sweeps may take: some 20 seconds of one core
_NEGLIGIBLE = 1e-14  # of the energy: nothing left to gain


def decompose(
    weight: NDArray[np.floating],
    shape: KroneckerShape,
    rank: int,
    moment: Array,
    *,
    sweeps: int = SWEEPS,
    tolerance: float = 1e-2,
    start: Factors | None = None,
) -> Factors:
    """`rank` terms near W (F, C, kh, kw) in the norm of `moment`, never further than the plain SVD's or `start`'s.

    `moment` is (Q, Q), or (group, Q, Q) for a weight (F, C / group, kh, kw) whose groups share B; `shape.f1` is then a
    multiple of group. `start` has `rank` terms or fewer: a path of growing ranks in which each starts from the one
    before never gets worse. Sweeps end when one gains less than `tolerance` of the error, and large layers get fewer.
    A factor with more than `MAX_UNKNOWNS` unknowns a row stays as it started. Raises ValueError as
    `kronecker.decompose` does, and for a moment that does not fit.
    """
    problem = Problem.of(weight, shape, moment)
    starts = [kronecker.decompose(weight, shape, rank), _whitened(weight, shape, rank, moment)]
    if start is not None:
        starts.append(_extended(start, weight, shape, rank))
    errors = [energy(weight - reconstruct(factors), moment) for factors in starts]
    best = int(np.argmin(errors))
    factors, error, negligible = starts[best], errors[best], _NEGLIGIBLE * energy(weight, moment)
    for _ in range(min(sweeps, max(1, int(WORK / sweep_macs(shape, rank, len(problem.moment)))))):
        if error <= negligible:
            break
        factors, gain = problem.sweep(factors)
        error -= gain
        if gain <= tolerance * error:
            break
    return _normalised(factors)


@dataclass(frozen=True, eq=False)
class Problem:
    """What every sweep reads."""

    shape: KroneckerShape
    weight: Array  # unfolded (f1 p, f2 q)
    target: Array  # unfold(W S) (f1 p, f2 q)
    moment: Array  # S (group, p, q, p, q)

    @classmethod
    def of(cls, weight: NDArray[np.floating], shape: KroneckerShape, moment: Array) -> "Problem":
        groups = moment.size // moment.shape[-1] ** 2
        if moment.shape[-1] != weight[0].size or shape.f1 % groups:
            raise ValueError(
                f"a moment of shape {list(moment.shape)} does not fit a weight {list(weight.shape)} split as {shape}"
            )
        inputs = [size for pair in zip(shape.a[1:], shape.b[1:], strict=True) for size in pair]
        S = moment.reshape(groups, *inputs, *inputs).transpose(0, 1, 3, 5, 2, 4, 6, 7, 9, 11, 8, 10, 12)
        p, q = (size // rows_ for size, rows_ in zip(shape.unfolded, (shape.f1, shape.f2), strict=True))
        W = np.asarray(weight, np.float64)
        target = unfold((rows(W, moment) @ moment).reshape(W.shape), shape)
        return cls(shape, unfold(W, shape), target, S.reshape(groups, p, q, p, q))

    def sweep(self, factors: Factors) -> tuple[Factors, float]:
        """A given B, then B given A, and how much the error fell."""
        a, gain_a = self.improve_a(factors)
        b, gain_b = self.improve_b(Factors(a, factors.b))
        return Factors(a, b), gain_a + gain_b

    def improve_a(self, factors: Factors) -> tuple[Array, float]:
        """The best A given B, as it was where it is too large, and how much the error fell."""
        R, (groups, p, q) = factors.rank, self.moment.shape[:3]
        if R * p > MAX_UNKNOWNS:
            return factors.a, 0.0
        A = factors.a.reshape(R, groups, -1, p).transpose(1, 2, 0, 3).reshape(groups, -1, R * p)
        target = (self.target @ factors.b.reshape(R, -1).T).reshape(groups, -1, p, R).swapaxes(2, 3).reshape(A.shape)
        steps = [
            improve(a, gram(S, factors.b.reshape(R, -1, q)), t) for a, S, t in zip(A, self.moment, target, strict=True)
        ]
        a = np.stack([step for step, _ in steps]).reshape(-1, R, p).swapaxes(0, 1)
        return a.reshape(factors.a.shape), sum(gain for _, gain in steps)

    def improve_b(self, factors: Factors) -> tuple[Array, float]:
        """The best B given A, as it was where it is too large, and how much the error fell."""
        R, (groups, p, q) = factors.rank, self.moment.shape[:3]
        if R * q > MAX_UNKNOWNS:
            return factors.b, 0.0
        A = factors.a.reshape(R, groups, -1, p)
        G = sum(gram(self.moment[g].transpose(1, 0, 3, 2).copy(), A[:, g]) for g in range(groups))
        B = factors.b.reshape(R, -1, q).swapaxes(0, 1).reshape(-1, R * q)
        target = (self.target.T @ factors.a.reshape(R, -1).T).reshape(-1, q, R).swapaxes(1, 2).reshape(B.shape)
        b, gain = improve(B, np.asarray(G), target)
        return b.reshape(-1, R, q).swapaxes(0, 1).reshape(factors.b.shape), gain


def sweep_macs(shape: KroneckerShape, rank: int, groups: int = 1) -> int:
    """Multiply-adds of a sweep's normal equations."""
    p, q = _columns(shape)
    total = 1
    for inner, rows_, outer in ((q, shape.f2, p), (p, shape.f1 // groups, q)):
        if rank * outer <= MAX_UNKNOWNS:
            total += groups * gram_macs(outer, rank, rows_, inner) + (rank * outer) ** 3 // 3
    return total


def whiten(weight: NDArray[np.floating], shape: KroneckerShape, moment: Array) -> tuple[Array, Array, Array]:
    """The unfolded weight, whitened as if S were the Kronecker product of its partial traces; their factors L.

    Its truncated SVD tells about how near a sum of R products comes in the norm of S.
    """
    p, q = _columns(shape)
    of_p, of_q = _partial_traces(shape, moment)
    Lp, Lq = factor(of_p), factor(of_q)
    unfolded = unfold(np.asarray(weight, np.float64), shape)
    white = Lp.T @ (unfolded.reshape(-1, q) @ Lq).reshape(-1, p, shape.unfolded[1])
    return white.reshape(shape.unfolded), Lp, Lq


def _whitened(weight: NDArray[np.floating], shape: KroneckerShape, rank: int, moment: Array) -> Factors:
    """The best terms if S were the Kronecker product of its partial traces."""
    p, q = _columns(shape)
    white, Lp, Lq = whiten(weight, shape, moment)
    left, right = truncated_svd(white, rank)
    a = solve_triangular(Lp, left.T.reshape(-1, p).T, lower=True, trans=1).T
    b = solve_triangular(Lq, right.reshape(-1, q).T, lower=True, trans=1).T
    return Factors(a.reshape(rank, *shape.a), b.reshape(rank, *shape.b))


def _columns(shape: KroneckerShape) -> tuple[int, int]:
    """p and q, the numbers of an im2col input that a row of A and one of B see."""
    return prod(shape.a[1:]), prod(shape.b[1:])


def _partial_traces(shape: KroneckerShape, moment: Array) -> tuple[Array, Array]:
    """S as A sees it (p, p) and as B does (q, q), the other's inputs and the groups summed over. Copies nothing."""
    inputs = [size for pair in zip(shape.a[1:], shape.b[1:], strict=True) for size in pair]  # c1 c2 h1 h2 w1 w2
    S = moment.reshape(-1, *inputs, *inputs)
    p, q = _columns(shape)
    of_p = np.einsum("gaibjckAiBjCk->abcABC", S)
    of_q = np.einsum("gaibjckaIbJcK->ijkIJK", S)
    return of_p.reshape(p, p), of_q.reshape(q, q)


def _extended(start: Factors, weight: NDArray[np.floating], shape: KroneckerShape, rank: int) -> Factors:
    """`start` with further terms that weigh nothing yet: B's directions are those of what is left of W."""
    more = rank - start.rank
    if more < 0 or start.a.shape[1:] != shape.a or start.b.shape[1:] != shape.b:
        raise ValueError(f"a start of {start.rank} terms {start.a.shape[1:]} x {start.b.shape[1:]} is none for {rank}")
    if not more:
        return start
    left = kronecker.decompose(weight - reconstruct(start), shape, more)
    return Factors(np.concatenate([start.a, np.zeros_like(left.a)]), np.concatenate([start.b, left.b]))


def _normalised(factors: Factors) -> Factors:
    """Every B_r of unit norm, its scale in A_r, the largest term first."""
    R = factors.rank
    scale = np.linalg.norm(factors.b.reshape(R, -1), axis=1)
    scale[scale == 0] = 1
    wide = (slice(None), *[None] * 4)
    a, b = factors.a * scale[wide], factors.b / scale[wide]
    order = np.argsort(-np.linalg.norm(a.reshape(R, -1), axis=1), kind="stable")
    return Factors(a[order], b[order])
