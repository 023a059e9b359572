"""Kronecker products: what numpy.kron makes, the truncated SVD's error, and every split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.numerics.kronecker import (
    Factors,
    KroneckerShape,
    decompose,
    fold,
    reconstruct,
    scale_rows,
    shapes_of,
    unfold,
)

WEIGHTS = st.sampled_from([(6, 4, 3, 3), (4, 6, 1, 1), (8, 5, 1, 3), (2, 3, 2, 2), (1, 1, 1, 1)])


def random(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@st.composite
def splits(draw: st.DrawFn) -> KroneckerShape:
    return draw(st.sampled_from(list(shapes_of(draw(WEIGHTS)))))


@given(splits())
def test_folding_undoes_unfolding(shape: KroneckerShape) -> None:
    weight = random(shape.weight)
    matrix = unfold(weight, shape)
    assert matrix.shape == shape.unfolded
    np.testing.assert_array_equal(fold(matrix, shape), weight)


@given(splits(), st.integers(1, 3))
def test_terms_are_kronecker_products(shape: KroneckerShape, rank: int) -> None:
    factors = Factors(random((rank, *shape.a), 1), random((rank, *shape.b), 2))
    expected = sum(np.kron(a, b) for a, b in zip(factors.a, factors.b, strict=True))
    np.testing.assert_allclose(reconstruct(factors), expected, atol=1e-12)
    assert shape.parameters(rank) == factors.a.size + factors.b.size


@given(splits(), st.data())
def test_the_error_is_the_tail_of_singular_values(shape: KroneckerShape, data: st.DataObject) -> None:
    weight = random(shape.weight)
    rank = data.draw(st.integers(1, shape.rank_max))
    factors = decompose(weight, shape, rank)
    tail = np.linalg.svd(unfold(weight, shape), compute_uv=False)[rank:]
    assert np.sum((weight - reconstruct(factors)) ** 2) == pytest.approx(np.sum(tail**2), abs=1e-12)
    np.testing.assert_allclose(np.sum(factors.b.reshape(rank, -1) ** 2, axis=1), 1)


@pytest.mark.parametrize("shape", [KroneckerShape(2, 3, 2, 2, 3, 1, 1, 3), KroneckerShape(3, 2, 4, 1, 1, 3, 3, 1)])
def test_exact_terms_are_found(shape: KroneckerShape) -> None:
    weight = reconstruct(Factors(random((2, *shape.a), 1), random((2, *shape.b), 2))).astype(np.float32)
    np.testing.assert_allclose(reconstruct(decompose(weight, shape, 2)), weight, atol=1e-6)


def test_a_low_rank_across_channels() -> None:
    weight = random((8, 3, 3, 3))
    factors = decompose(weight, KroneckerShape(8, 1, 1, 3, 1, 3, 1, 3), 4)
    U, s, V = np.linalg.svd(weight.reshape(8, 27), full_matrices=False)
    np.testing.assert_allclose(reconstruct(factors).reshape(8, 27), (U[:, :4] * s[:4]) @ V[:4], atol=1e-12)


def test_every_split_once() -> None:
    shapes = list(shapes_of((4, 6, 3, 1)))
    assert len(set(shapes)) == len(shapes) == 3 * 4 * 2 * 1
    assert all(shape.weight == (4, 6, 3, 1) for shape in shapes)


def test_costs_of_a_split() -> None:
    shape = KroneckerShape(4, 2, 8, 2, 1, 3, 3, 1)  # W (8, 16, 3, 3)
    assert shape.macs(5) == 5 * (16 * 2 * 3 + 8 * 8 * 3)
    assert shape.parameters(5) == 5 * (4 * 8 * 3 + 2 * 2 * 3)


def test_zeros_decompose() -> None:
    shape = KroneckerShape(2, 2, 2, 2, 1, 1, 1, 1)
    np.testing.assert_array_equal(reconstruct(decompose(np.zeros((4, 4, 1, 1)), shape, 3)), 0)


@pytest.mark.parametrize("rank", [0, 5])
def test_ranks_that_cannot_be(rank: int) -> None:
    with pytest.raises(ValueError, match="outside 1 to 4"):
        decompose(random((4, 4, 1, 1)), KroneckerShape(2, 2, 2, 2, 1, 1, 1, 1), rank)


def test_weights_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="does not split"):
        unfold(random((4, 4, 3, 3)), KroneckerShape(2, 2, 2, 2, 1, 1, 1, 1))
    with pytest.raises(ValueError, match="infs or NaNs"):
        decompose(np.full((4, 4, 1, 1), np.nan), KroneckerShape(2, 2, 2, 2, 1, 1, 1, 1), 1)


@given(splits(), st.integers(1, 3))
def test_rows_are_scaled_where_factors_allow_it(shape: KroneckerShape, rank: int) -> None:
    factors = Factors(random((rank, *shape.a), 1), random((rank, *shape.b), 2))
    scale = np.exp(random((shape.f1, shape.f2), 3))
    if min(shape.f1, shape.f2) > 1:
        scale = np.outer(scale[:, 0], scale[0])
    found = reconstruct(scale_rows(factors, scale.ravel()))
    np.testing.assert_allclose(found, scale.reshape(-1, 1, 1, 1) * reconstruct(factors), rtol=1e-9, atol=1e-12)
