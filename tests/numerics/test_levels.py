"""The magnitude of a block: exact for any levels, against every assignment there is."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnxcomp.numerics.levels import check_levels, nearest

LEVELS = [(1.0,), (1.0, 0.0), (1.0, 0.5), (1.0, 0.5, 0.0), (1.0, 0.75, 0.5, 0.25, 0.0)]


def loss(block: np.ndarray, levels: tuple[float, ...]) -> float:
    m, factors = nearest(block, levels)
    assert m >= 0 and set(np.abs(factors)) <= set(levels)
    return float(np.square(block - m * factors).sum())


def by_trying_all(block: np.ndarray, levels: tuple[float, ...]) -> float:
    best = float(np.square(block).sum())
    for chosen in product(levels, repeat=len(block)):
        if any(chosen):
            m = np.abs(block) @ chosen / np.square(chosen).sum()
            best = min(best, float(np.square(np.abs(block) - m * np.array(chosen)).sum()))
    return best


@given(arrays(np.float64, 4, elements=st.floats(-2, 2, width=32)), st.sampled_from(LEVELS))
def test_nearest_of_every_assignment(block: np.ndarray, levels: tuple[float, ...]) -> None:
    assert loss(block, levels) == pytest.approx(by_trying_all(block, levels), abs=1e-12)


@given(arrays(np.float64, 16, elements=st.floats(-100, 100, width=32)))
def test_more_levels_are_never_worse(block: np.ndarray) -> None:
    losses = [loss(block, levels) for levels in ((1.0,), (1.0, 0.0), (1.0, 0.5, 0.0), LEVELS[-1])]
    assert all(b <= a * (1 + 1e-12) + 1e-12 for a, b in pairwise(losses))


def test_one_level_is_the_mean_magnitude() -> None:
    blocks = np.random.default_rng(0).standard_normal((3, 5, 16)).astype(np.float32)
    m, factors = nearest(blocks, (1.0,))
    np.testing.assert_allclose(m, np.abs(blocks).mean(axis=-1), rtol=1e-6)
    np.testing.assert_array_equal(factors, np.sign(blocks))
    assert m.dtype == factors.dtype == np.float32


@pytest.mark.parametrize("levels", LEVELS)
def test_what_is_at_levels_stays(levels: tuple[float, ...]) -> None:
    rng = np.random.default_rng(1)
    blocks = rng.choice([1, -1], (50, 8)) * rng.choice(levels, (50, 8)) * rng.uniform(0.1, 3, (50, 1))
    m, factors = nearest(blocks, levels)
    np.testing.assert_allclose(m[:, None] * factors, blocks, rtol=1e-12)


def test_a_block_of_zeros() -> None:
    m, factors = nearest(np.zeros((2, 4)), (1.0, 0.5))
    assert not m.any() and set(np.abs(factors.ravel())) <= {1.0, 0.5}


@pytest.mark.parametrize("levels", [(), (0.5,), (1.0, 1.0), (1.0, -0.5), (2.0, 1.0), (1.0, 0.3), (1.0, float("nan"))])
def test_refuses_what_are_no_levels(levels: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="levels"):
        check_levels(levels)
    assert check_levels((0.0, 1.0, 0.5)) == (1.0, 0.5, 0.0)
