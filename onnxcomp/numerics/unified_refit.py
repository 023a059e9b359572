"""What is free in a weight whose blocks are partly unified, fitted to data in closed form.

With the kinds of blocks and the factors of the unified ones fixed, the rows w_o of one row of blocks are

    w_o = D_o m + E f_o        m: a magnitude a unified block, shared by the rows; f_o: the free weights of row o

(D_o holds the factors, E picks the free columns), and minimising sum over o of (w*_o - w_o)^T S (w*_o - w_o) is one
linear problem in m and all f_o. The f_o are eliminated: with S' = S_UU - S_UF S_FF^-1 S_FU on the unified columns U,
the magnitudes solve (sum over o of D_o^T S' D_o) m = right-hand side, and each f_o follows from them.
"""

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve

from onnxcomp.numerics.blocks import Block
from onnxcomp.numerics.least_squares import LEFT, conjugate_gradients
from onnxcomp.numerics.levels import factors_at
from onnxcomp.numerics.moments import factor, rows
from onnxcomp.numerics.normal_equations import improve

Array = NDArray[np.float64]
T = TypeVar("T", bound=np.generic)

_AT_ONCE = 64  # columns
_LARGE = 200  # Q, from which on a factor for every row of blocks takes longer than products with S for all of them


class Kind(IntEnum):
    """What a block is."""

    ZERO = 0
    UNIFIED = 1
    FREE = 2


@dataclass(frozen=True, eq=False)
class Unification:
    """A weight in blocks; R rows of C blocks of `outputs` x g weights."""

    block: Block
    kinds: NDArray[np.int8]  # (R, C), of Kind
    scales: Array  # m (R, C), where unified
    factors: Array  # (R, C, outputs, g), signed levels, where unified
    free: Array  # (R, C, outputs, g), the weights of free blocks

    def weight(self, shape: tuple[int, ...]) -> Array:
        """W' (C_out, C_in / group, k...)."""
        kind = self.kinds[..., None, None]
        unified = self.scales[..., None, None] * self.factors
        blocks = np.where(kind == Kind.UNIFIED, unified, np.where(kind == Kind.FREE, self.free, 0.0))
        return self.block.join(blocks, shape)


def refit(
    found: Unification, weight: NDArray[np.floating], moment: Array, *, scales: bool = True, left: float = LEFT
) -> Unification:
    """`found` with the magnitudes (unless not `scales`) and free weights nearest to W* in the norm of `moment`.

    Never farther from it than `found` was. In a large layer fitted until `left` (numerics.least_squares).
    """
    columns = found.block.columns(weight.shape)
    off = rows(weight - found.weight(weight.shape), moment)
    if moment.shape[-1] > _LARGE:
        return _moved(found, *_nearer(found, weight.shape, off, moment, scales=scales, left=left))
    T = (off @ moment).reshape(len(found.kinds), found.block.outputs, -1)
    S = moment.reshape(-1, *moment.shape[-2:])
    m, free = found.scales.copy(), found.free.copy()
    for r, kinds in enumerate(found.kinds):
        U, F = kinds == Kind.UNIFIED, kinds == Kind.FREE
        if not F.any() and not (scales and U.any()):
            continue
        D = found.factors[r, U].transpose(1, 0, 2)  # (outputs, blocks, g)
        step, f = _solve(S[r * len(S) // len(found.kinds)], T[r], D, columns[U], columns[F].ravel(), scales=scales)
        m[r, U] += step
        free[r, F] += f.reshape(len(f), -1, columns.shape[1]).swapaxes(0, 1)
    return _moved(found, m, free)


def _moved(found: Unification, m: Array, free: Array) -> Unification:
    """`found` with other magnitudes, of either sign, and free weights."""
    flipped = np.where(m < 0, -1.0, 1.0)[..., None, None]
    return replace(found, scales=np.abs(m), factors=found.factors * flipped, free=free)


def _nearer(
    found: Unification, shape: tuple[int, ...], off: Array, moment: Array, *, scales: bool, left: float
) -> tuple[Array, Array]:
    """m and the free weights, all rows of blocks at once, by conjugate gradients; `off` is W* - W' in rows."""
    R, C, outputs, g = found.factors.shape
    unified = (found.kinds == Kind.UNIFIED) & scales
    free = (found.kinds == Kind.FREE)[..., None, None]
    factors = (found.factors * unified[..., None, None]).astype(np.float32)

    def weight_of(x: NDArray[np.float32]) -> NDArray[np.float32]:
        blocks = x[:, :C, None, None] * factors + x[:, C:].reshape(factors.shape)
        return found.block.join(blocks, shape).reshape(off.shape)

    def unknowns_of(W: NDArray[np.float32]) -> NDArray[np.float32]:
        blocks = found.block.cut(W.reshape(shape))
        return np.concatenate([(blocks * factors).sum(axis=(2, 3)), (blocks * free).reshape(R, -1)], axis=1)

    columns = found.block.columns(shape)
    S = moment.reshape(-1, *moment.shape[-2:])[:, columns[:, :, None], columns[:, None, :]]  # (group, C, g, g)
    by_group = factors.reshape(len(S), -1, *factors.shape[1:])
    of_m = np.einsum("srcog,scgh,srcoh->src", by_group, S, by_group, optimize=True).reshape(R, C)
    of_free = np.broadcast_to(np.einsum("scgg->scg", S)[:, None, :, None], by_group.shape).reshape(factors.shape) * free
    curvature = np.concatenate([of_m, of_free.reshape(R, -1)], axis=1)
    x = conjugate_gradients(off, moment, curvature, weight_of, unknowns_of, left=left)
    return found.scales + x[:, :C], found.free + x[:, C:].reshape(R, C, outputs, g)


def _solve(
    S: Array, T: Array, D: Array, U: NDArray[np.int64], F: NDArray[np.int64], *, scales: bool
) -> tuple[Array, Array]:
    """Steps of m (blocks) and f (outputs, F) in one row of blocks, given the residual T = (W* - W') S (outputs, Q)."""
    columns = U.ravel()
    S_FU = S[np.ix_(F, columns)]
    L = (factor(S[np.ix_(F, F)]), True) if len(F) else None
    step = np.zeros(len(U))
    if scales and len(U):
        through = cho_solve(L, S_FU) if L else S_FU
        S_ = (S[np.ix_(columns, columns)] - S_FU.T @ through).reshape(*U.shape, *U.shape)
        T_ = (T[:, columns] - T[:, F] @ through).reshape(len(D), *U.shape)
        G = np.zeros((len(U), len(U)))
        for d in D:
            G += np.einsum("abh,bh->ab", np.einsum("ag,agbh->abh", d, S_), d)
        step = improve(step[None], G, np.einsum("obg,obg->b", D, T_)[None])[0][0]
    moved = (D * step[:, None]).reshape(len(D), -1)
    return step, cho_solve(L, (T[:, F] - moved @ S_FU.T).T).T if L else np.zeros((len(D), 0))


def descend(
    found: Unification, weight: NDArray[np.floating], moment: Array, levels: tuple[float, ...], *, sweeps: int = 1
) -> Unification:
    """`found` with other factors and free weights, magnitudes and kinds held: cyclic coordinate descent.

    A column at a time, and all rows at once, each weight goes to the best of its choices while all others stay: no step
    makes the error larger.
    """
    columns = found.block.columns(weight.shape)
    result = found.weight(weight.shape)
    kinds = _spread(found.kinds, found, weight.shape, moment)
    scales = _spread(found.scales, found, weight.shape, moment)
    W, factors = rows(result, moment).copy(), rows(found.block.join(found.factors, weight.shape), moment).copy()
    T = (rows(weight, moment) - W) @ moment
    order = columns.ravel()
    for _ in range(sweeps):
        for some in np.split(order, range(_AT_ONCE, len(order), _AT_ONCE)):
            w, f, t, m = (np.moveaxis(part[..., some], -1, 0).copy() for part in (W, factors, T, scales))
            kind = np.moveaxis(kinds[..., some], -1, 0)
            S = np.moveaxis(moment[..., some[:, None], some], (-2, -1), (0, 1))
            _choose(w, f, t, kind, m, S, levels)
            T -= (np.moveaxis(w, 0, -1) - W[..., some]) @ moment[..., some, :]
            W[..., some], factors[..., some] = np.moveaxis(w, 0, -1), np.moveaxis(f, 0, -1)
    cut = (found.block.cut(part.reshape(weight.shape)) for part in (factors, W))
    return replace(found, factors=next(cut), free=next(cut))


def _choose(
    w: Array, factors: Array, t: Array, kinds: NDArray[np.int8], scales: Array, S: Array, levels: tuple[float, ...]
) -> None:
    """Some columns (n, ..., C_out) of W and of its factors to the best choices, one after the other.

    t = (W* - W) S, of these columns only, follows: what the others see of it waits until all of these are done, for one
    product of matrices in place of many of vectors. S is (n, n, ...).
    """
    for i in range(len(w)):
        curvature = np.maximum(S[i, i], 0)[..., None]
        step = np.divide(t[i], curvature, out=np.zeros_like(t[i]), where=curvature > 0)
        wanted = w[i] + step
        unified = (kinds[i] == Kind.UNIFIED) & (step != 0)
        factors[i] = np.where(unified, factors_at(wanted[..., None], scales[i], levels)[..., 0], factors[i])
        chosen = np.where(unified, scales[i] * factors[i], np.where(kinds[i] == Kind.FREE, wanted, w[i]))
        t[i + 1 :] -= S[i, i + 1 :][..., None] * (chosen - w[i])
        w[i] = chosen


def _spread(part: NDArray[T], found: Unification, shape: tuple[int, ...], moment: Array) -> NDArray[T]:
    """A number a block as a number a weight, in the rows of `moment`."""
    whole = np.broadcast_to(part[..., None, None], found.factors.shape)
    joined = found.block.join(whole, shape)
    return joined.reshape(*moment.shape[:-2], -1, moment.shape[-1])
