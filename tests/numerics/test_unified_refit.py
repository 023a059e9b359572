"""Fitting what is free in a weight of fixed blocks: against plain least squares, and never worse."""

from itertools import pairwise

import numpy as np
import pytest

from onnxcomp.numerics import unified_refit
from onnxcomp.numerics.blocks import Block
from onnxcomp.numerics.moments import energy
from onnxcomp.numerics.unification import MicroStructure, split
from onnxcomp.numerics.unified_refit import Kind, Unification, descend, refit
from tests.numerics.oracle import random_moment

SHAPE = (4, 6, 2)


def problem(levels: tuple[float, ...] = (1.0, 0.0)) -> tuple[Unification, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    weight = rng.standard_normal(SHAPE)
    found = split(weight, MicroStructure(Block(2, 2), levels, 0.5, 0.25))
    return found, weight, random_moment(12, rng, 0.7)


def by_least_squares(found: Unification, weight: np.ndarray, moment: np.ndarray, *, scales: bool) -> np.ndarray:
    """One unknown a magnitude and one a free weight, all of the weight at once: what it is a linear function of."""
    base = found.weight(SHAPE)
    directions = []
    for r, c in np.ndindex(found.kinds.shape):
        one = np.zeros(found.factors.shape)
        if found.kinds[r, c] == Kind.UNIFIED and scales:
            one[r, c] = found.factors[r, c]
            directions.append(found.block.join(one, SHAPE).ravel())
        if found.kinds[r, c] == Kind.FREE:
            for place in np.ndindex(one.shape[2:]):
                one[:] = 0
                one[(r, c, *place)] = 1
                directions.append(found.block.join(one, SHAPE).ravel())
    root = np.linalg.cholesky(moment)

    def outputs(flat: np.ndarray) -> np.ndarray:
        return (flat.reshape(4, 12) @ root).ravel()

    A = np.stack([outputs(direction) for direction in directions], axis=1)
    steps = np.linalg.lstsq(A, outputs((weight - base).ravel()))[0]
    return base + (np.stack(directions, axis=1) @ steps).reshape(SHAPE)


@pytest.mark.parametrize("scales", [True, False])
def test_refit_is_least_squares(scales: bool) -> None:
    found, weight, moment = problem()
    result = refit(found, weight, moment, scales=scales)
    expected = by_least_squares(found, weight, moment, scales=scales)
    np.testing.assert_allclose(result.weight(SHAPE), expected, atol=1e-7)
    np.testing.assert_array_equal(result.kinds, found.kinds)
    assert (result.scales >= 0).all()
    if not scales:
        np.testing.assert_array_equal(result.scales, found.scales)


def test_groups_are_fitted_each_on_its_own() -> None:
    found, weight, moment = problem()
    rng = np.random.default_rng(4)
    other = random_moment(12, rng, 0.7)
    pair = refit(found, weight, np.stack([moment, other])).weight(SHAPE)
    np.testing.assert_allclose(pair[:2], refit(found, weight, moment).weight(SHAPE)[:2])
    np.testing.assert_allclose(pair[2:], refit(found, weight, other).weight(SHAPE)[2:])


@pytest.mark.parametrize("levels", [(1.0,), (1.0, 0.5, 0.0)])
def test_descent_never_climbs(levels: tuple[float, ...]) -> None:
    found, weight, moment = problem(levels)
    errors = [energy(weight - found.weight(SHAPE), moment)]
    for _ in range(4):
        found = descend(found, weight, moment, levels)
        errors.append(energy(weight - found.weight(SHAPE), moment))
        found = refit(found, weight, moment)
        errors.append(energy(weight - found.weight(SHAPE), moment))
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(errors))
    assert errors[1] < 0.9 * errors[0]


def test_descent_changes_factors_and_free_weights_alone() -> None:
    found, weight, moment = problem()
    after = descend(found, weight, moment, (1.0, 0.0))
    np.testing.assert_array_equal(after.kinds, found.kinds)
    np.testing.assert_array_equal(after.scales, found.scales)
    assert set(np.abs(after.factors[after.kinds == Kind.UNIFIED]).ravel()) <= {1.0, 0.0}
    zero = np.broadcast_to((found.kinds == Kind.ZERO)[..., None, None], found.factors.shape)
    assert not after.weight(SHAPE)[found.block.join(zero, SHAPE)].any()


def test_descent_is_the_same_however_many_columns_are_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, weight, moment = problem((1.0, 0.5, 0.0))
    whole = descend(found, weight, moment, (1.0, 0.5, 0.0), sweeps=2).weight(SHAPE)
    assert not np.array_equal(whole, found.weight(SHAPE))
    for columns in (1, 5):
        monkeypatch.setattr(unified_refit, "_AT_ONCE", columns)
        np.testing.assert_allclose(descend(found, weight, moment, (1.0, 0.5, 0.0), sweeps=2).weight(SHAPE), whole)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("scales", [True, False])
def test_a_large_layer_comes_as_near(groups: int, scales: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """By conjugate gradients, within a thousandth of what the closed form gains."""
    found, weight, moment = problem()
    if groups == 2:
        moment = np.stack([moment, random_moment(12, np.random.default_rng(4), 0.7)])
    start = energy(weight - found.weight(SHAPE), moment)
    exact = energy(weight - refit(found, weight, moment, scales=scales).weight(SHAPE), moment)
    monkeypatch.setattr(unified_refit, "_LARGE", 0)
    result = refit(found, weight, moment, scales=scales)
    near = energy(weight - result.weight(SHAPE), moment)
    assert exact * (1 - 1e-6) <= near <= exact + 1e-3 * (start - exact)
    np.testing.assert_array_equal(result.kinds, found.kinds)
    assert (result.scales >= 0).all()
    if not scales:
        np.testing.assert_array_equal(result.scales, found.scales)
