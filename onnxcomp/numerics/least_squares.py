"""Least squares over a linear family of weights: all rows at once, by conjugate gradients.

    minimise tr((T - A x) S (T - A x)^T)  over x

Where every row has a pattern of zeros of its own, some products with S do nearly as well as a factor for each, as
soon or up to thirty times sooner. Steps are scaled by the curvature along each unknown, and end when they gain next to
nothing (Nocedal and Wright, Numerical Optimization, 2006, section 5.1).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Single = NDArray[np.float32]

STEPS = 50  # at most
LEFT = 3e-4  # of what is left: a step that gains less is the last; errors are within 0.2 % of the least
ROUGHLY = 5e-3  # the same where that will do: within some 1 %


def conjugate_gradients(
    T: Array,
    S: Array,
    curvature: NDArray[np.floating],
    weight_of: Callable[[Single], Single] = lambda x: x,
    unknowns_of: Callable[[Single], Single] = lambda W: W,
    *,
    left: float = LEFT,
) -> Array:
    """x (systems, n), each row of which is a problem of its own, T being (rows, Q).

    `weight_of` is A, from x to a weight (rows, Q), and `unknowns_of` its transpose; by default the identity.
    `curvature` (systems, n) is the diagonal of A^T S A, zero for what is no unknown and stays zero. S is (Q, Q), or
    (group, Q, Q) with T (group, rows / group, Q). The less there is to gain over x = 0, the fewer the steps: the one
    that gains no more than the share `left` of what remains is the last. In single precision: each step goes to the
    least along its direction, so rounding makes none harmful.
    """
    residual = T @ S
    error = float(np.vdot(residual, T))
    single = S.astype(np.float32)
    inverse = _over(np.ones(curvature.shape, np.float32), curvature.astype(np.float32))
    unknown = inverse > 0
    rest = unknowns_of(residual.astype(np.float32)) * unknown
    x, direction = np.zeros_like(rest), np.zeros_like(rest)
    last = np.zeros(len(x), np.float32)
    for _ in range(STEPS):
        scaled = rest * inverse
        slope = np.einsum("sn,sn->s", rest, scaled)
        direction = scaled + _over(slope, last)[:, None] * direction
        ahead = unknowns_of(weight_of(direction) @ single) * unknown
        length = _over(slope, np.einsum("sn,sn->s", direction, ahead))
        x += length[:, None] * direction
        rest -= length[:, None] * ahead
        last, gain = slope, float(length @ slope)
        error -= gain
        if gain <= left * max(error, 0.0):
            break
    return x.astype(np.float64)


def _over(numerator: Single, denominator: Single) -> Single:
    """The quotients; zero where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
