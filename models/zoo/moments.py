"""Per-channel mean and variance of activations, followed through a network without running it.

Every channel is taken as Gaussian and independent of the others; that is exact on average over random weights, and it is
what gives a BatchNormalization statistics that match what flows into it, so that signals keep their scale at any depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_ERF = np.vectorize(math.erf, otypes=[np.float64])
# A maximum over neighbours lies above their mean: by 1.0 to 1.5 deviations for independent pixels, by none for equal
# ones. Feature maps of images lie between.
_MAX_POOL_SHIFT = 0.75


@dataclass(frozen=True)
class Moments:
    """Mean (C,) and variance (C,) of each channel over images and pixels."""

    mean: Array
    variance: Array

    @classmethod
    def standard(cls, channels: int) -> Moments:
        """Mean 0 and variance 1: a normalised image."""
        return cls(np.zeros(channels), np.ones(channels))

    def through_linear(self, weight: NDArray[np.float32], groups: int = 1) -> Moments:
        """After a Conv of `weight` (C_out, C/groups, kh, kw), or a Gemm as kh = kw = 1; borders are ignored."""
        w = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
        mean = np.einsum("goi,gi->go", w.sum(axis=3, dtype=np.float64), self.mean.reshape(groups, -1))
        energy = np.einsum("goik,goik->goi", w, w, dtype=np.float64)
        variance = np.einsum("goi,gi->go", energy, self.variance.reshape(groups, -1))
        return Moments(mean.ravel(), variance.ravel())

    def through_affine(self, scale: Array, shift: Array) -> Moments:
        """After `scale * x + shift`, both (C,)."""
        return Moments(scale * self.mean + shift, scale**2 * self.variance)

    def through_relu(self, ceiling: float = math.inf) -> Moments:
        """After `min(max(x, 0), ceiling)`."""
        first, second = self._rectified(0.0)
        if math.isfinite(ceiling):
            # Beyond the ceiling c: x = c + (x - c) and x^2 = c^2 + 2c (x - c) + (x - c)^2.
            first_above, second_above = self._rectified(ceiling)
            first -= first_above
            second -= second_above + 2 * ceiling * first_above
        return Moments(first, np.maximum(second - first**2, 0))

    def through_max_pool(self) -> Moments:
        """After a maximum over a small window."""
        return Moments(self.mean + _MAX_POOL_SHIFT * np.sqrt(self.variance), self.variance)

    def added_to(self, other: Moments) -> Moments:
        """The sum of two uncorrelated maps."""
        return Moments(self.mean + other.mean, self.variance + other.variance)

    def followed_by(self, other: Moments) -> Moments:
        """The concatenation of two maps along the channels."""
        return Moments(np.concatenate([self.mean, other.mean]), np.concatenate([self.variance, other.variance]))

    def repeated(self, times: int) -> Moments:
        """Each channel's moments for each of its `times` pixels: a flattened map."""
        return Moments(np.repeat(self.mean, times), np.repeat(self.variance, times))

    def _rectified(self, threshold: float) -> tuple[Array, Array]:
        """E[r] and E[r^2] of r = max(x - threshold, 0), the textbook integrals of a rectified Gaussian."""
        deviation = np.sqrt(self.variance) + 1e-12
        centre = self.mean - threshold
        z = centre / deviation
        cumulative = 0.5 * (1 + _ERF(z / math.sqrt(2)))
        density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
        first = centre * cumulative + deviation * density
        second = (centre**2 + deviation**2) * cumulative + centre * deviation * density
        return first, second
