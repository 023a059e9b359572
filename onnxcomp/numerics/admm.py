"""A weight of a wanted kind that loses little on the data: the alternating direction method of multipliers.

    minimise tr((W* - W) S (W* - W)^T)  subject to  W in C

    W <- (W* S + rho (Z - U)) (S + rho I)^-1 ;   Z <- project_C(W + U) ;   U <- U + W - Z

for any set C that one can project on (Boyd et al., Distributed Optimization and Statistical Learning via ADMM, 2011,
sections 3 and 9.1). rho rises geometrically, so that early iterations explore and late ones settle. One
eigendecomposition of S serves every rho and every C.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.numerics.moments import rows

Array = NDArray[np.float64]

Projection = Callable[[NDArray[Any]], NDArray[Any]]
"""From a weight to the nearest one in C, of the same shape and type."""

Progress = Callable[[int, float], None]
"""Told after each iteration which it was, from 1, and |W - Z| / |W|, how far the two still are apart."""

ITERATIONS = 80
FEWEST = 10  # of a large layer: the errors they leave are 5 % larger
_WORK = 40_000_000_000  # multiply-adds of all iterations, from which on there are fewer
RHO = (0.1, 2.0)  # first and last, relative to S's mean diagonal: as near in half the iterations as 0.01 to 5
LARGE = 1024  # Q, from which on ADMM's answer is taken without trying simpler ones too: a second fit takes long
_DEAD = 1e-6  # of the largest scale: an input that is always zero still has one


@dataclass(frozen=True, eq=False)
class Spectrum:
    """S = D V diag(values) V^T D of a moment (Q, Q) or (group, Q, Q), in single precision for the iterations.

    A step is a weighted mean of two weights in an orthonormal basis, which amplifies no rounding; and what comes out is
    projected, and refitted in double precision where it is a pattern of zeros.
    """

    scale: NDArray[np.float32]  # diag D (..., Q)
    values: NDArray[np.float32]  # (..., Q), of mean 1 where there is any input
    vectors: NDArray[np.float32]  # V (..., Q, Q), a vector in a column

    @classmethod
    def of(cls, moment: Array, scaled: bool = True) -> "Spectrum":
        """The spectrum of `moment`; `scaled` first brings its diagonal to one.

        Magnitudes of a scaled weight are what its entries contribute to the output: the right ones to compare for sets
        that a scaling of columns does not change, such as patterns of zeros. Others need `scaled=False`.
        """
        diagonal = np.maximum(np.diagonal(moment, axis1=-2, axis2=-1), 0)
        scale = np.sqrt(diagonal if scaled else np.full_like(diagonal, diagonal.mean()))
        scale = np.maximum(scale, _DEAD * scale.max() or 1.0)
        scaled_moment = (moment / (scale[..., :, None] * scale[..., None, :])).astype(np.float32)
        values, vectors = np.linalg.eigh(scaled_moment)  # off by its rounding, which is far below the least rho
        return cls(scale.astype(np.float32), np.maximum(values, 0), vectors)


def iterations_for(C_out: int, Q: int) -> int:
    """How many a weight (C_out, Q) is worth: all, but for layers where they would take seconds."""
    return min(ITERATIONS, max(FEWEST, _WORK // max(1, 2 * C_out * Q**2)))


def admm(
    weight: NDArray[np.floating],
    spectrum: Spectrum,
    project: Projection,
    *,
    iterations: int = ITERATIONS,
    rho: tuple[float, float] = RHO,
    progress: Progress | None = None,
) -> Array:
    """A member of C near W* (C_out, C_in / group, k...) in the norm whose `spectrum` is given.

    `project` sees weights of that shape, scaled as the spectrum is, and modifies none. Deterministic.
    """
    scale, values, V = spectrum.scale[..., None, :], spectrum.values[..., None, :], spectrum.vectors
    W0 = (rows(weight, V) * scale).astype(np.float32)

    def nearest(W: NDArray[np.float32]) -> NDArray[np.float32]:
        return project(W.reshape(weight.shape)).reshape(W.shape)

    wanted = (W0 @ V) * values
    Z, U = nearest(W0), np.zeros_like(W0)
    penalties = np.geomspace(*rho, iterations, dtype=np.float32)
    for i, penalty in enumerate(penalties, 1):
        W = ((wanted + penalty * ((Z - U) @ V)) / (values + penalty)) @ V.swapaxes(-1, -2)
        Z = nearest(W + U)
        U = U + W - Z  # not rescaled to the next rho: patterns come out slightly better when the multiplier grows too
        if progress is not None:
            progress(i, float(np.linalg.norm(W - Z) / max(np.linalg.norm(W), np.finfo(np.float32).tiny)))
    return (Z / scale).astype(np.float64).reshape(weight.shape)
