"""BatchNormalization with the statistics of what flows into it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.sample import Sample

EPSILON = 1e-5


@dataclass(frozen=True)
class BatchNorm:
    """The four arrays (C,) of a BatchNormalization, in the operator's order."""

    scale: Sample
    shift: Sample
    mean: Sample
    variance: Sample

    @classmethod
    def of(cls, value: Sample, rng: np.random.Generator) -> BatchNorm:
        """The statistics of `value` (n, C, H, W), and a scale and shift such as training leaves."""
        channels = int(value.shape[1])
        variance = value.var(axis=(0, 2, 3))
        return cls(
            scale=rng.uniform(0.5, 1.5, channels),
            shift=rng.normal(0, 0.2, channels),
            mean=value.mean(axis=(0, 2, 3)),
            # A channel whose weights are all zero does not vary; dividing by nothing would let rounding errors out.
            variance=np.maximum(variance, 1e-3 * variance.mean()),
        )

    def as_affine(self) -> tuple[Sample, Sample]:
        """Factor and offset (C,) of the same map, `factor * x + offset`."""
        factor = self.scale / np.sqrt(self.variance + EPSILON)
        return factor, self.shift - factor * self.mean
