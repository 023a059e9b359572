"""Pruning on data: against ExactOBS, never worse than magnitudes refitted, exact where nothing is asked."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.numerics import pruning
from onnxcomp.numerics.admm import FEWEST, ITERATIONS, Norm, Projection, admm, iterations_for
from onnxcomp.numerics.least_squares import conjugate_gradients
from onnxcomp.numerics.moments import energy
from onnxcomp.numerics.projections import blocks, windows, zeros
from onnxcomp.numerics.pruning import prune, refit
from tests.numerics.oracle import exact_obs, exact_obs_layer, random_moment


def problem(shape: tuple[int, ...], seed: int = 0, decay: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape), random_moment(int(np.prod(shape[1:])), rng, decay)


def test_as_good_as_exact_obs() -> None:
    ratios = []
    for seed in range(12):
        weight, moment = problem((1, 36), seed, decay=0.7)
        obs = exact_obs(weight[0], moment, 25)
        found = prune(weight, moment, zeros(25 / 36))
        assert np.count_nonzero(found) == 11
        ratios.append(energy(weight - found, moment) / energy(weight - obs, moment))
    assert np.exp(np.mean(np.log(ratios))) < 1.1, ratios


@pytest.mark.parametrize("sparsity", [0.5, 0.75])
def test_as_good_as_exact_obs_where_rows_compete(sparsity: float) -> None:
    ratios = []
    for seed in range(6):
        weight, moment = problem((8, 24), seed, decay=0.7)
        obs = exact_obs_layer(weight, moment, round(sparsity * weight.size))
        found = prune(weight, moment, zeros(sparsity))
        assert np.count_nonzero(found) == np.count_nonzero(obs)
        ratios.append(energy(weight - found, moment) / energy(weight - obs, moment))
    assert max(ratios) < 1.1, ratios


@pytest.mark.parametrize("project", [zeros(0.7), blocks(0.6, 4), windows(4)])
def test_better_than_magnitudes_alone_and_than_these_refitted(project: Projection) -> None:
    weight, moment = problem((16, 16, 3), decay=0.8)
    found = energy(weight - prune(weight, moment, project), moment)
    plain = project(weight)
    assert found < 0.6 * energy(weight - plain, moment)
    assert found < 0.85 * energy(weight - refit(weight, moment, np.where(plain, weight, 0)), moment)


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.3, 0.9, 1.0]), st.integers(1, 2))
def test_never_worse_than_the_scaled_projection_refitted(seed: int, sparsity: float, groups: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((4 * groups, 3, 2))
    moment = np.stack([random_moment(6, rng) for _ in range(groups)])
    moment = moment if groups > 1 else moment[0]
    scale = np.sqrt(np.diagonal(moment, axis1=-2, axis2=-1))
    plain = zeros(sparsity)((weight.reshape(groups, 4, 6) * scale.reshape(groups, 1, 6)).reshape(weight.shape))
    reference = energy(weight - refit(weight, moment, np.where(plain, weight, 0)), moment)
    found = prune(weight, moment, zeros(sparsity), iterations=20)
    assert energy(weight - found, moment) <= reference * (1 + 1e-6) + 1e-12
    assert np.count_nonzero(found) == weight.size - round(sparsity * weight.size)


@pytest.mark.parametrize("rows", [6, 40], ids=["by factors", "by conjugate gradients"])
def test_a_rough_one_is_not_much_farther(rows: int) -> None:
    weight, moment = problem((rows, 60), decay=0.9)
    near, rough = (energy(weight - prune(weight, moment, zeros(0.7), rough=rough), moment) for rough in (False, True))
    assert near < rough < 2 * near


def test_refit_is_least_squares_on_the_pattern() -> None:
    weight, moment = problem((5, 4, 3))
    kept = np.random.default_rng(1).random(weight.shape) < 0.4
    kept[1] = kept[0]
    kept[2], kept[3] = False, True
    found = refit(weight, moment, np.where(kept, weight, 0))
    root = np.linalg.cholesky(moment)
    for row, fitted, live in zip(*(part.reshape(5, 12) for part in (weight, found, kept)), strict=True):
        expected = np.zeros(12)
        expected[live] = np.linalg.lstsq(root.T[:, live], root.T @ row)[0]
        np.testing.assert_allclose(fitted, expected, atol=1e-7)
    np.testing.assert_array_equal(found[3], weight[3])


@given(st.integers(0, 1000), st.sampled_from([0.1, 0.5, 0.9]), st.booleans())
def test_descending_to_it_leaves_next_to_nothing(seed: int, share: float, far: bool) -> None:
    """Conjugate gradients come within two thousandths of the error that factors reach; the pattern is kept."""
    rng = np.random.default_rng(seed)
    weight, moment = problem((12, 40), seed, decay=0.8)
    kept = rng.random(weight.shape) < share
    start = np.where(kept, weight + far * rng.standard_normal(weight.shape), 0)
    off = weight - start
    exact = energy(weight - np.concatenate([refit(*row) for row in one_by_one(weight, moment, start)]), moment)
    found = start + conjugate_gradients(off, moment, kept * np.diagonal(moment))
    assert not found[~kept].any()
    assert exact * (1 - 1e-6) <= energy(weight - found, moment) <= 1.002 * exact + 1e-9 * energy(off, moment)


def one_by_one(weight: np.ndarray, moment: np.ndarray, start: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """The problem of each row, which a factor solves."""
    return [(row[None], moment, from_[None]) for row, from_ in zip(weight, start, strict=True)]


def test_from_near_it_takes_few_steps() -> None:
    weight, moment = problem((24, 60), decay=0.9)
    cold = np.where(zeros(0.6)(weight), weight, 0)
    near = np.concatenate([refit(*row) for row in one_by_one(weight, moment, cold)])
    steps = []
    for start in (cold, near + 1e-3 * (cold - near)):
        directions: list[np.ndarray] = []

        def weight_of(x: np.ndarray, seen: list[np.ndarray] = directions) -> np.ndarray:
            seen.append(x)
            return x

        conjugate_gradients(weight - start, moment, (start != 0) * np.diagonal(moment), weight_of)
        steps.append(len(directions))
    assert steps[1] == 1 and steps[0] > 4, steps


@pytest.mark.parametrize(("patterns", "spared"), [(64, True), (2, False), (1, False)])
def test_many_factors_are_spared(patterns: int, spared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(*given: Any, **how: Any) -> np.ndarray:
        calls.append(len(given[0]))
        return conjugate_gradients(*given, **how)

    monkeypatch.setattr(pruning, "conjugate_gradients", counted)
    weight, moment = problem((64, 200))
    kept = np.random.default_rng(0).random((patterns, 200)) < 0.5
    refit(weight, moment, np.where(np.resize(kept, weight.shape), weight, 0))
    assert calls == [len(weight)] * spared


def test_inputs_that_are_always_zero_go_first() -> None:
    weight, moment = problem((8, 10, 1))
    moment[:4] = 0
    moment[:, :4] = 0
    found = prune(weight, moment, zeros(0.4))
    assert not found[:, :4].any() and energy(weight - found, moment) == pytest.approx(0, abs=1e-12)


def test_no_input_at_all() -> None:
    weight, _ = problem((4, 6, 1))
    found = prune(weight, np.zeros((6, 6)), zeros(0.5))
    assert np.count_nonzero(found) == 12 and np.isfinite(found).all()


def test_any_projection_and_progress() -> None:
    weight, moment = problem((6, 8, 1))

    def signs(values: np.ndarray) -> np.ndarray:
        return np.where(values < 0, -1, 1) * np.abs(values).mean()

    apart: list[float] = []
    found = admm(weight, Norm.of(moment, scaled=False), signs, progress=lambda _, gap: apart.append(gap))
    assert len(np.unique(np.abs(found))) == 1 and len(apart) == ITERATIONS
    assert energy(weight - found, moment) < energy(weight - signs(weight), moment)


@pytest.mark.parametrize(
    ("C_out", "Q", "iterations"), [(64, 576, 80), (256, 576, 80), (2048, 512, 37), (512, 2048, 10), (512, 4608, 10)]
)
def test_large_layers_get_fewer_iterations(C_out: int, Q: int, iterations: int) -> None:
    assert iterations_for(C_out, Q) == iterations


def test_fewer_iterations_cost_little() -> None:
    """Of what all of them gain over the largest weights refitted, at least seven tenths."""
    gains = []
    for seed in range(4):
        weight, moment = problem((32, 16, 9), seed, decay=0.8)
        plain = energy(weight - refit(weight, moment, zeros(0.7)(weight)), moment)
        few, whole = (
            energy(weight - prune(weight, moment, zeros(0.7), iterations=n), moment) for n in (FEWEST, ITERATIONS)
        )
        gains.append((plain - few) / (plain - whole))
    assert np.mean(gains) > 0.7, gains
