"""A weight of a wanted kind that loses little on the data: the alternating direction method of multipliers.

    minimise tr((W* - W) S (W* - W)^T)  subject to  W in C

    W <- (W* S + rho (Z - U)) (S + rho I)^-1 ;   Z <- project_C(W + U) ;   U <- U + W - Z

for any set C that one can project on (Boyd et al., Distributed Optimization and Statistical Learning via ADMM, 2011,
sections 3 and 9.1). rho rises geometrically, so that early iterations explore and late ones settle. One
eigendecomposition of S serves every rho and every C. Of a large S it would take longer than all iterations; there rho
rises in a few steps, each with a Cholesky factor of S + rho I.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from onnxcomp.numerics.moments import rows

Array = NDArray[np.float64]
Single = NDArray[np.float32]

Projection = Callable[[NDArray[Any]], NDArray[Any]]
"""From a weight to the nearest one in C, of the same shape and type."""

Progress = Callable[[int, float], None]
"""Told after each iteration which it was, from 1, and |W - Z| / |W|, how far the two still are apart."""

ITERATIONS = 80
FEWEST = 10  # of a large layer: the errors they leave are 5 % larger
_WORK = 40_000_000_000  # multiply-adds of all iterations, from which on there are fewer
RHO = (0.1, 2.0)  # first and last, relative to S's mean diagonal: as near in half the iterations as 0.01 to 5
LARGE = 1024  # Q, from which on there are factors, and ADMM's answer is taken without trying simpler ones too
STEPS = 5  # of rho where there are factors: one of each iteration's own leaves errors up to 2 % smaller
_ROUGH, _ROUGH_LARGE = 5, 3  # where that will do: errors some 10 % larger, and 3 % beyond that
_KEPT = 1 << 28  # bytes of factors: those of five rho up to Q = 3,660, of three up to 4,729
_DEAD = 1e-6  # of the largest scale: an input that is always zero still has one


@dataclass(frozen=True, eq=False)
class Norm:
    """D S D of a moment (Q, Q) or (group, Q, Q), D diagonal, in single precision for the iterations.

    A step is a weighted mean of two weights, which amplifies no rounding; and what comes out is projected, and refitted
    in double precision where it is a pattern of zeros.
    """

    scale: Single  # the inverse of diag D (..., Q)
    scaled: Single  # (..., Q, Q), of mean diagonal 1 where there is any input

    @classmethod
    def of(cls, moment: Array, scaled: bool = True) -> "Norm":
        """That of `moment`; `scaled` brings its whole diagonal to one.

        Magnitudes of a scaled weight are what its entries contribute to the output: the right ones to compare for sets
        that a scaling of columns does not change, such as patterns of zeros. Others need `scaled=False`.
        """
        diagonal = np.maximum(np.diagonal(moment, axis1=-2, axis2=-1), 0)
        scale = np.sqrt(diagonal if scaled else np.full_like(diagonal, diagonal.mean()))
        scale = np.maximum(scale, _DEAD * scale.max() or 1.0)
        scaled_moment = np.empty(moment.shape, np.float32)
        for row, inverse in enumerate(np.moveaxis(scale, -1, 0)):  # one by one: no second moment in double precision
            scaled_moment[..., row, :] = moment[..., row, :] / (inverse[..., None] * scale)
        return cls(scale.astype(np.float32), scaled_moment)

    def penalties(self, rho: tuple[float, float], iterations: int) -> Single:
        """rho of each iteration."""
        steps = min(iterations, STEPS) if self._is_large else iterations
        return np.geomspace(*rho, steps, dtype=np.float32)[np.arange(iterations) * steps // iterations]

    def nearer(self, wanted: Single) -> Callable[[Single, np.float32], Single]:
        """From X and rho to what minimises tr((`wanted` - W) S (`wanted` - W)^T) + rho |W - X|^2, all in rows."""
        return self._by_factors(wanted) if self._is_large else self._by_spectrum(wanted)

    @property
    def _is_large(self) -> bool:
        return bool(self.scale.shape[-1] > LARGE)

    @cached_property
    def _spectrum(self) -> tuple[Single, Single]:
        """Eigenvalues (..., 1, Q) and vectors (..., Q, Q): off by their rounding, which is far below the least rho."""
        values, vectors = np.linalg.eigh(self.scaled)
        return np.maximum(values, 0)[..., None, :], vectors

    def _by_spectrum(self, wanted: Single) -> Callable[[Single, np.float32], Single]:
        values, V = self._spectrum
        turned = (wanted @ V) * values

        def nearer(X: Single, rho: np.float32) -> Single:
            result: Single = ((turned + rho * (X @ V)) / (values + rho)) @ V.swapaxes(-1, -2)
            return result

        return nearer

    def _by_factors(self, wanted: Single) -> Callable[[Single, np.float32], Single]:
        def nearer(X: Single, rho: np.float32) -> Single:
            steps = rho * (X - wanted).reshape(-1, *X.shape[-2:])
            pairs = zip(self._factors_at(rho), steps, strict=True)
            solved = [cho_solve(L, one.T, check_finite=False).T for L, one in pairs]
            result: Single = wanted + np.stack(solved).reshape(X.shape)
            return result

        return nearer

    def _factors_at(self, rho: np.float32) -> list[Any]:
        """Of S + rho I, for each group. Kept for the next pattern, unless those of all rho are too large for that."""
        if rho not in self._factors:
            if (len(self._factors) + 1) * self.scaled.nbytes > _KEPT:
                self._factors.clear()
            shifted = self.scaled.reshape(-1, *self.scaled.shape[-2:]).copy()
            np.einsum("gii->gi", shifted)[:] += rho
            self._factors[rho] = [cho_factor(S.T, overwrite_a=True, check_finite=False) for S in shifted]
        return self._factors[rho]

    @cached_property
    def _factors(self) -> dict[np.float32, list[Any]]:
        """By rho; those of one are as large as S."""
        return {}


def iterations_for(C_out: int, Q: int, *, rough: bool = False) -> int:
    """How many a weight (C_out, Q) is worth: all, but for layers where they would take seconds; few if `rough`."""
    if rough:
        return _ROUGH_LARGE if Q > LARGE else _ROUGH
    return min(ITERATIONS, max(FEWEST, _WORK // max(1, 2 * C_out * Q**2)))


def admm(
    weight: NDArray[np.floating],
    norm: Norm,
    project: Projection,
    *,
    iterations: int = ITERATIONS,
    rho: tuple[float, float] = RHO,
    progress: Progress | None = None,
) -> Array:
    """A member of C near W* (C_out, C_in / group, k...) in that `norm`.

    `project` sees weights of that shape, scaled as the norm is, and modifies none. Deterministic.
    """
    scale = norm.scale[..., None, :]
    W0 = (rows(weight, norm.scaled) * scale).astype(np.float32)
    nearer = norm.nearer(W0)

    def nearest(W: Single) -> Single:
        return project(W.reshape(weight.shape)).reshape(W.shape)

    Z, U = nearest(W0), np.zeros_like(W0)
    for i, penalty in enumerate(norm.penalties(rho, iterations), 1):
        W = nearer(Z - U, penalty)
        Z = nearest(W + U)
        U = U + W - Z  # not rescaled to the next rho: patterns come out slightly better when the multiplier grows too
        if progress is not None:
            progress(i, float(np.linalg.norm(W - Z) / max(np.linalg.norm(W), np.finfo(np.float32).tiny)))
    return (Z / scale).astype(np.float64).reshape(weight.shape)
