"""Structure that is there is found, rounding and all; structure that is not is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.numerics.find_exact import exact_kronecker, exact_rank, exact_shared_basis
from onnxcomp.numerics.kronecker import Factors, KroneckerShape, decompose, reconstruct, shapes_of, unfold
from onnxcomp.numerics.shared_basis import reconstruct as combined


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def product(shape: KroneckerShape, rank: int, dtype: type = np.float32) -> np.ndarray:
    a, b = random(rank, *shape.a), random(rank, *shape.b, seed=1)
    return reconstruct(Factors(a, b)).astype(dtype)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 20))
def test_ranks(m: int, n: int, rank: int) -> None:
    matrix = random(m, rank) @ random(rank, n, seed=1)
    assert exact_rank(matrix.astype(np.float32)) == min(m, n, rank)
    assert exact_rank(matrix.astype(np.float32) * np.float32(1e-20)) == min(m, n, rank)


@pytest.mark.parametrize(("scale", "rank"), [(1e-4, 4), (1e-9, 3)])
def test_a_small_part_is_a_part_and_rounding_is_none(scale: float, rank: int) -> None:
    matrix = random(20, 3) @ random(3, 20, seed=1) + scale * random(20, 1, seed=2) @ random(1, 20, seed=3)
    assert exact_rank(matrix) == rank


@pytest.mark.parametrize("kernel", [(3, 3), (5,), (1, 3)])
@pytest.mark.parametrize("d", [1, 2])
def test_shared_bases(kernel: tuple[int, ...], d: int) -> None:
    weight = combined(random(16, 12, d), random(d, *kernel, seed=1)).astype(np.float32)
    assert exact_shared_basis(weight) == d


@pytest.mark.parametrize(
    "weight",
    [random(16, 12, 3, 3), random(16, 12, 1, 1), np.zeros((4, 4, 3, 3)), np.full((4, 4, 3, 3), np.nan)],
    ids=["dense", "1x1", "zero", "nan"],
)
def test_nothing_to_find(weight: np.ndarray) -> None:
    assert exact_shared_basis(weight.astype(np.float32)) is None
    assert exact_kronecker(weight.astype(np.float32)) == ()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "rank"),
    [
        (KroneckerShape(8, 4, 4, 4, 3, 1, 3, 1), 1),
        (KroneckerShape(8, 4, 4, 4, 1, 3, 3, 1), 3),
        (KroneckerShape(32, 1, 16, 1, 1, 3, 1, 3), 2),  # shared bases
        (KroneckerShape(32, 1, 1, 16, 1, 3, 1, 3), 5),  # a low rank across channels
        (KroneckerShape(32, 1, 16, 1, 3, 1, 1, 3), 1),  # separable kernels, each its own
    ],
)
def test_kronecker_products_are_found(shape: KroneckerShape, rank: int, dtype: type) -> None:
    weight = product(shape, rank, dtype)
    found = exact_kronecker(weight)
    costs = [one.parameters(terms) for one, terms in found]
    assert costs == sorted(costs) and costs[-1] <= weight.size / 2 and len(found) <= 8
    assert (shape, rank) in found or shape.parameters(rank) >= costs[-1]
    for one, terms in found:
        np.testing.assert_allclose(
            reconstruct(decompose(weight, one, terms)), weight, atol=1e-5 if dtype != np.float16 else 0.05
        )


def test_every_split_that_is_exact_and_small_is_named() -> None:
    weight = product(KroneckerShape(4, 2, 2, 4, 3, 1, 3, 1), 2)
    exact = []
    for shape in shapes_of(weight.shape):
        rank = exact_rank(unfold(weight, shape))
        if shape.parameters(rank) <= weight.size / 2:
            exact.append(shape.parameters(rank))
    assert [shape.parameters(rank) for shape, rank in exact_kronecker(weight)] == sorted(exact)[:8]


def test_a_pruned_weight_is_no_product() -> None:
    weight = random(32, 32, 3, 3)
    weight[np.abs(weight) < 2] = 0
    assert exact_kronecker(weight.astype(np.float32)) == ()
