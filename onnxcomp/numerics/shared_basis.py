"""Kernels as combinations of a few that a whole layer shares: W[o, i] ~= sum_j C[o, i, j] B_j.

PENNI (Li et al., ICML 2020), section 3.1. It is the Kronecker decomposition with a = (C_out, C_in, 1, 1) and d terms.
The mean is not taken out, as the paper's PCA would: a linear layer has nowhere to put it.
"""

from math import prod

import numpy as np
from numpy.typing import NDArray

from onnxcomp.numerics import als, kronecker
from onnxcomp.numerics.kronecker import KroneckerShape

Decomposition = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Coefficients C (C_out, C_in / group, d) and bases B (d, k...)."""


def shape_of(weight_shape: tuple[int, ...]) -> KroneckerShape:
    """The Kronecker shape of shared bases, kernels of any rank (k...) laid out along one axis."""
    C_out, C_in = weight_shape[:2]
    return KroneckerShape(C_out, 1, C_in, 1, 1, prod(weight_shape[2:]), 1, 1)


def decompose(
    weight: NDArray[np.floating], d: int, moment: NDArray[np.float64] | None = None, sweeps: int = als.SWEEPS
) -> Decomposition:
    """The `d` bases and the coefficients closest to W (C_out, C_in / group, k...).

    In the L2 norm, and the bases orthonormal; or, by alternating least squares, in that of the `moment` (Q, Q) or
    (group, Q, Q) of the layer's input, and the bases of unit length. Raises ValueError for a `d` below 1 or above what
    can matter, for a weight that is not finite and for a moment that does not fit.
    """
    C_out, C_in, *kernel = weight.shape
    shape = shape_of(weight.shape)
    flat = weight.reshape(shape.weight)
    if moment is None:
        factors = kronecker.decompose(flat, shape, d)
    else:
        factors = als.decompose(flat, shape, d, moment, sweeps=sweeps)
    return factors.a.reshape(d, C_out, C_in).transpose(1, 2, 0), factors.b.reshape(d, *kernel)


def reconstruct(coefficients: NDArray[np.floating], bases: NDArray[np.floating]) -> NDArray[np.float64]:
    """W' (C_out, C_in / group, k...) of C (C_out, C_in / group, d) and B (d, k...)."""
    return np.tensordot(coefficients.astype(np.float64), bases.astype(np.float64), axes=1)
