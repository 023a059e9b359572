"""Generalised Kronecker products: W ~= sum_r A_r (x) B_r, the best R terms of a given shape.

    W[f1 F2 + f2, c1 C2 + c2, y1 h2 + y2, x1 w2 + x2]  =  sum_r A_r[f1, c1, y1, x1] B_r[f2, c2, y2, x2]

Unfolded so that a row is an entry of A and a column one of B, a Kronecker product is a matrix of rank one, so the
truncated SVD of the unfolded weight is optimal (Hameed et al., Convolutional Neural Network Compression through
Generalized Kronecker Product Decomposition, AAAI 2022, section 3; Van Loan and Pitsianis 1993). Kernels in a shared
basis are the shape a = (C_out, C_in, 1, 1), a low rank across channels is a = (C_out, 1, 1, 1), separable kernels are
a = (C_out, 1, kh, 1): one engine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from onnxcomp.numerics.low_rank import truncated_svd

T = TypeVar("T", bound=np.generic)

_UNFOLDED = (0, 2, 4, 6, 1, 3, 5, 7)  # the axes of A before those of B


@dataclass(frozen=True)
class KroneckerShape:
    """How a weight (F, C, kh, kw) splits: F = f1 f2, C = c1 c2, kh = h1 h2, kw = w1 w2."""

    f1: int
    f2: int
    c1: int
    c2: int
    h1: int
    h2: int
    w1: int
    w2: int

    @property
    def a(self) -> tuple[int, int, int, int]:
        """The shape of A_r."""
        return self.f1, self.c1, self.h1, self.w1

    @property
    def b(self) -> tuple[int, int, int, int]:
        """The shape of B_r."""
        return self.f2, self.c2, self.h2, self.w2

    @property
    def weight(self) -> tuple[int, int, int, int]:
        """The shape of W."""
        return self.f1 * self.f2, self.c1 * self.c2, self.h1 * self.h2, self.w1 * self.w2

    @property
    def unfolded(self) -> tuple[int, int]:
        """The shape of the unfolded weight: entries of A, entries of B."""
        return prod(self.a), prod(self.b)

    @property
    def rank_max(self) -> int:
        """With so many terms the decomposition of every weight is exact."""
        return min(self.unfolded)

    def parameters(self, rank: int) -> int:
        """Numbers in `rank` terms."""
        return rank * sum(self.unfolded)

    def macs(self, rank: int) -> int:
        """Multiply-adds of one output position at stride 1: all B_r on the input's c1 slices, then A on the result."""
        F, C, _, _ = self.weight
        return rank * (C * self.f2 * self.h2 * self.w2 + F * self.c1 * self.h1 * self.w1)


@dataclass(frozen=True, eq=False)
class Factors:
    """The terms of a Kronecker decomposition: `a` (R, F1, C1, h1, w1) and `b` (R, F2, C2, h2, w2)."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]

    @property
    def rank(self) -> int:
        """R, the number of terms."""
        return len(self.a)


def shapes_of(weight_shape: Sequence[int]) -> Iterator[KroneckerShape]:
    """Every way to split each size of a weight (F, C, kh, kw) in two factors, the two trivial ones included."""
    for f1, c1, h1, w1 in product(*(_divisors(size) for size in weight_shape)):
        F, C, kh, kw = weight_shape
        yield KroneckerShape(f1, F // f1, c1, C // c1, h1, kh // h1, w1, kw // w1)


def unfold(weight: NDArray[T], shape: KroneckerShape) -> NDArray[T]:
    """The matrix (entries of A, entries of B) that is of rank R where W (F, C, kh, kw) is a sum of R products."""
    if weight.shape != shape.weight:
        raise ValueError(f"a weight of shape {list(weight.shape)} does not split as {shape}, made for {shape.weight}")
    split = [size for pair in zip(shape.a, shape.b, strict=True) for size in pair]
    return weight.reshape(split).transpose(_UNFOLDED).reshape(shape.unfolded)


def fold(matrix: NDArray[T], shape: KroneckerShape) -> NDArray[T]:
    """The weight (F, C, kh, kw) that unfolds to `matrix`."""
    return matrix.reshape(*shape.a, *shape.b).transpose(np.argsort(_UNFOLDED)).reshape(shape.weight)


def decompose(weight: NDArray[np.floating], shape: KroneckerShape, rank: int) -> Factors:
    """The `rank` terms closest to W (F, C, kh, kw) in the L2 norm, largest first; A_r carries the singular value.

    Raises ValueError for a rank outside 1 to `shape.rank_max`, for a weight that does not split so or is not finite.
    """
    if not 1 <= rank <= shape.rank_max:
        raise ValueError(f"rank {rank} is outside 1 to {shape.rank_max}, what {shape} can have")
    left, right = truncated_svd(unfold(weight, shape), rank)
    return Factors(left.T.reshape(rank, *shape.a), right.reshape(rank, *shape.b))


def reconstruct(factors: Factors) -> NDArray[np.float64]:
    """W' (F, C, kh, kw) of the terms."""
    a, b = factors.a, factors.b
    shape = KroneckerShape(*(size for pair in zip(a.shape[1:], b.shape[1:], strict=True) for size in pair))
    return fold(a.reshape(factors.rank, -1).T @ b.reshape(factors.rank, -1), shape)


def scale_rows(factors: Factors, scale: NDArray[np.floating]) -> Factors:
    """The terms of W' with its rows multiplied by `scale` (F), all positive, as far as rows of A and of B can be.

    Row f1 F2 + f2 gets u[f1] v[f2], least squares in the logarithm: `scale` itself where F1 or F2 is 1.
    """
    wide = (slice(None), *[None] * 3)
    logs = np.log(scale).reshape(factors.a.shape[1], factors.b.shape[1])
    u = np.exp(logs.mean(axis=1))
    v = np.exp(logs.mean(axis=0) - logs.mean())
    return Factors(factors.a * u[wide], factors.b * v[wide])


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]
