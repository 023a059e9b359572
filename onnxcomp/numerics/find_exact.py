"""Structure that is in a weight already: low rank, shared bases and Kronecker products, up to the rounding of storage.

A dense weight has hundreds of Kronecker shapes and is of full rank in all of them; a small block of the unfolded matrix
mostly tells, and is read without unfolding anything. What a block leaves open, a random projection of the whole decides
(Halko, Martinsson and Tropp 2011, section 4), and the truncated SVD confirms.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svdvals
from scipy.linalg.lapack import sgetrf

from onnxcomp.numerics import shared_basis
from onnxcomp.numerics.by_content import by_content
from onnxcomp.numerics.kronecker import KroneckerShape, decompose, reconstruct, shapes_of, unfold

# An entry is rounded to half an epsilon of itself, so the whole to half an epsilon of its L2 norm. Eight times that
# leaves room for a product that was summed in single precision.
_ROUNDINGS = 4
_MARGIN = 4  # a projection may stretch what is lost by this
# Of the block's root mean square. Rounding leaves pivots far smaller than 200 tolerances where a block is singular, and
# those of a random block are of the order of 1.
_PIVOT, _PIVOT_MOST = 200, 0.05
_TERMS = 8  # rows or columns in a sum
_MOST = 8  # Kronecker shapes worth naming
_AT_MOST = 0.5  # of the weight's numbers, in its factors


def exact_rank(matrix: NDArray[np.floating]) -> int:
    """The least rank of a matrix that `matrix` (m, n) can be a rounding of: what is lost is within `tolerance_of`."""
    return _rank(svdvals(np.asarray(matrix, np.float64)), tolerance_of(matrix))


def tolerance_of(weight: NDArray[np.floating]) -> float:
    """The relative L2 error that storing a weight, in single precision or its own lower one, accounts for."""
    return _ROUNDINGS * float(max(np.finfo(weight.dtype).eps, np.finfo(np.float32).eps))


@by_content
def exact_shared_basis(weight: NDArray[np.floating]) -> int | None:
    """d of the shared bases that W (C_out, C_in / group, k...) is exactly made of; None where they save nothing."""
    shape = shared_basis.shape_of(weight.shape)
    if not _usable(weight) or 1 in shape.unfolded:
        return None
    kernels = unfold(weight.reshape(shape.weight), shape).astype(np.float64)
    d = _rank(svdvals(np.linalg.qr(kernels, mode="r")), tolerance_of(weight))
    return d if shape.parameters(d) < weight.size else None


@by_content
def exact_kronecker(weight: NDArray[np.floating]) -> tuple[tuple[KroneckerShape, int], ...]:
    """Shapes and ranks that W (F, C, kh, kw) is exactly a sum of, at most eight: least numbers first, then least MACs.

    Those of more than half the weight's numbers do not count. Empty where W is zero, or not finite.
    """
    if not _usable(weight):
        return ()
    found = sorted(_candidates(weight), key=lambda one: (one[0].parameters(one[1]), one[0].macs(one[1])))
    confirmed: list[tuple[KroneckerShape, int]] = []
    for shape, rank in found:
        if len(confirmed) < _MOST and _is_exact(weight, shape, rank):
            confirmed.append((shape, rank))
    return tuple(confirmed)


def _candidates(weight: NDArray[np.floating]) -> Iterator[tuple[KroneckerShape, int]]:
    """Shapes whose unfolded matrix seems to be of low rank, and the rank."""
    rng = np.random.default_rng(0)
    for shape in shapes_of(weight.shape):
        limit = int(_AT_MOST * weight.size / sum(shape.unfolded))
        if limit < 1 or _has_full_block(weight, shape, limit + 1, rng):
            continue
        rank = _projected_rank(weight, shape, limit + 1, rng)
        if 1 <= rank <= limit:
            yield shape, rank


def _has_full_block(weight: NDArray[np.floating], shape: KroneckerShape, size: int, rng: np.random.Generator) -> bool:
    """Whether a block of `size` rows and columns of the unfolded weight is plainly of full rank.

    Of single rows and columns first; then, as these may be zero in a sparse weight, of sums of some that are not.
    """
    places = [_entries(shape, factor) for factor in (0, 1)]
    if _is_full(weight, [rng.choice(one, (size, 1), replace=False) for one in places]):
        return True
    nonzero = unfold(weight != 0, shape)
    live = [one[nonzero.any(axis=axis)] for one, axis in zip(places, (1, 0), strict=True)]
    terms = [min(len(one) // size, _TERMS) for one in live]
    if 0 in terms:
        return False
    return _is_full(weight, [rng.choice(one, (size, n), replace=False) for one, n in zip(live, terms, strict=True)])


def _is_full(weight: NDArray[np.floating], sums: list[NDArray[np.intp]]) -> bool:
    """Whether the block of sums of rows and of columns, (size, terms) places of each, is of full rank by its pivots."""
    rows, columns = sums
    block = weight.ravel()[rows[:, :, None, None] + columns].astype(np.float64).sum(axis=(1, 3))
    scale = np.sqrt(np.mean(np.square(block)))
    least = min(_PIVOT * tolerance_of(weight), _PIVOT_MOST)
    # LAPACK's own, for its wrappers warn of singular blocks.
    return bool(scale > 0 and np.abs(np.diag(sgetrf(block / scale)[0])).min() > least)


def _entries(shape: KroneckerShape, factor: int) -> NDArray[np.intp]:
    """Where in the flat weight the rows (factor 0) or columns (1) of the unfolded one begin: a place is their sum."""
    strides = np.cumprod([1, *shape.weight[:0:-1]])[::-1]
    if factor == 0:
        strides = strides * shape.b
    places = np.zeros(1, np.intp)
    for size, stride in zip((shape.a, shape.b)[factor], strides, strict=True):
        places = np.add.outer(places, np.arange(size) * stride).ravel()
    return places


def _projected_rank(weight: NDArray[np.floating], shape: KroneckerShape, size: int, rng: np.random.Generator) -> int:
    """The rank of the unfolded weight, or `size` where it is at least that, by projection to a square of `size`."""
    m, n = shape.unfolded
    right = unfold(weight, shape).astype(np.float64) @ rng.standard_normal((n, size))
    return _rank(svdvals(rng.standard_normal((size, m)) @ right), _MARGIN * tolerance_of(weight))


def _is_exact(weight: NDArray[np.floating], shape: KroneckerShape, rank: int) -> bool:
    """Whether `rank` terms are the weight, up to rounding."""
    W = weight.astype(np.float64)
    lost = np.linalg.norm(W - reconstruct(decompose(W, shape, rank)))
    return bool(lost <= tolerance_of(weight) * np.linalg.norm(W))


def _rank(singular_values: NDArray[np.float64], tolerance: float) -> int:
    """How many to keep so that the rest is at most `tolerance` of all of them, in the L2 norm."""
    tails = np.sqrt(np.cumsum(np.square(singular_values[::-1])))[::-1]
    return int(np.count_nonzero(tails > tolerance * tails[0])) if tails.size and tails[0] > 0 else 0


def _usable(weight: NDArray[np.floating]) -> bool:
    return bool(np.isfinite(weight).all() and weight.any())
