"""Random weights (C_out, C_in, kh, kw) that are exact sums of few products, scaled as He et al.'s are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


class Factored(Protocol):
    """How a weight is made of factors."""

    def weight(self, shape: Shape, rng: np.random.Generator) -> NDArray[np.float32]:
        """A weight of `shape`, of variance 2 / fan_in."""


@dataclass(frozen=True)
class SharedBasis:
    """Every kernel is a combination of `d` (Li et al., PENNI, ICML 2020)."""

    d: int

    def weight(self, shape: Shape, rng: np.random.Generator) -> NDArray[np.float32]:
        coefficients, bases = rng.standard_normal((*shape[:2], self.d)), rng.standard_normal((self.d, *shape[2:]))
        return _scaled(np.tensordot(coefficients, bases, axes=1))


@dataclass(frozen=True)
class Kronecker:
    """The sum of `rank` products whose first factors have the shape `a` (Hameed et al., AAAI 2022)."""

    a: Shape
    rank: int = 1

    def weight(self, shape: Shape, rng: np.random.Generator) -> NDArray[np.float32]:
        b = tuple(size // part for size, part in zip(shape, self.a, strict=True))
        terms = (np.kron(rng.standard_normal(self.a), rng.standard_normal(b)) for _ in range(self.rank))
        return _scaled(sum(terms, np.zeros(shape)))


def _scaled(weight: NDArray[np.float64]) -> NDArray[np.float32]:
    fan_in = math.prod(weight.shape[1:])
    return (weight * math.sqrt(2 / fan_in) / weight.std()).astype(np.float32)
