"""Data-aware Kronecker terms: each half against plain least squares, and what no sweep may do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.numerics import als, kronecker
from onnxcomp.numerics.als import Problem, decompose
from onnxcomp.numerics.kronecker import Factors, KroneckerShape, reconstruct, shapes_of
from onnxcomp.numerics.moments import energy
from onnxcomp.numerics.normal_equations import _gram_by_pair, _gram_by_row
from tests.numerics.oracle import random_moment

SHARED_BASES = KroneckerShape(6, 1, 4, 1, 1, 3, 1, 3)
MIXED = KroneckerShape(2, 3, 2, 2, 3, 1, 1, 3)
CHANNELS = KroneckerShape(6, 1, 1, 4, 1, 3, 1, 3)


def problem(shape: tuple[int, ...], groups: int = 0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    moments = [random_moment(int(np.prod(shape[1:])), rng) for _ in range(max(groups, 1))]
    return rng.standard_normal(shape), np.stack(moments) if groups else moments[0]


def least_squares(design: list[np.ndarray], weight: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """The combination of `design` weights nearest to `weight`, by numpy.linalg.lstsq."""
    moments = moment.reshape(-1, *moment.shape[-2:])
    roots = [np.linalg.cholesky(one) for one in moments]

    def whiten(one: np.ndarray) -> np.ndarray:
        parts = one.reshape(len(moments), -1, moments.shape[-1])
        return np.concatenate([(part @ root).ravel() for part, root in zip(parts, roots, strict=True)])

    return np.linalg.lstsq(np.stack([whiten(one) for one in design], axis=1), whiten(weight))[0]


def units(shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape))
    return np.eye(size).reshape(size, *shape)


@pytest.mark.parametrize("groups", [0, 2])
@pytest.mark.parametrize("shape", [SHARED_BASES, MIXED, CHANNELS])
def test_a_sweep_is_two_least_squares(shape: KroneckerShape, groups: int) -> None:
    weight, moment = problem(shape.weight, groups)
    start = kronecker.decompose(weight, shape, 2)
    found, gain = Problem.of(weight, shape, moment).sweep(start)
    a = least_squares([reconstruct(Factors(unit, start.b)) for unit in units(start.a.shape)], weight, moment)
    middle = Factors(a.reshape(start.a.shape), start.b)
    np.testing.assert_allclose(found.a, middle.a, atol=1e-5)
    b = least_squares([reconstruct(Factors(found.a, unit)) for unit in units(start.b.shape)], weight, moment)
    np.testing.assert_allclose(found.b, b.reshape(start.b.shape), atol=1e-5)
    before, after = (energy(weight - reconstruct(factors), moment) for factors in (start, found))
    assert gain == pytest.approx(before - after, rel=1e-6) and gain > 0


@pytest.mark.parametrize("chunk", [1, 1 << 24])
def test_normal_equations(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcomp.numerics.normal_equations._CHUNK", chunk)
    rng = np.random.default_rng(0)
    S, B = random_moment(12, rng).reshape(3, 4, 3, 4), rng.standard_normal((2, 5, 4))
    expected = np.einsum("rfi,piqj,sfj->rpsq", B, S, B)
    np.testing.assert_allclose(_gram_by_row(S, B), expected, atol=1e-12)
    np.testing.assert_allclose(_gram_by_pair(S, B), expected, atol=1e-12)


@st.composite
def cases(draw: st.DrawFn) -> tuple[KroneckerShape, int, int]:
    shape = draw(st.sampled_from(list(shapes_of((4, 6, 3, 1)))))
    return shape, draw(st.integers(1, shape.rank_max)), draw(st.integers(0, 100))


@given(cases())
def test_never_above_the_plain_svd(case: tuple[KroneckerShape, int, int]) -> None:
    shape, rank, seed = case
    weight, moment = problem(shape.weight, seed=seed)
    found, plain = decompose(weight, shape, rank, moment), kronecker.decompose(weight, shape, rank)
    errors = [energy(weight - reconstruct(factors), moment) for factors in (found, plain)]
    assert errors[0] <= errors[1] + 1e-12
    if rank == shape.rank_max:
        assert errors[0] <= 1e-12


@pytest.mark.parametrize("shape", [SHARED_BASES, MIXED])
def test_more_terms_on_a_path_are_never_worse(shape: KroneckerShape) -> None:
    weight, moment = problem(shape.weight)
    factors, error = None, np.inf
    for rank in range(1, shape.rank_max + 1):
        factors = decompose(weight, shape, rank, moment, start=factors, sweeps=2)
        assert factors.rank == rank
        previous, error = error, energy(weight - reconstruct(factors), moment)
        assert error <= previous + 1e-12
    assert error <= 1e-12


def test_a_low_rank_across_channels_is_optimal_at_once() -> None:
    weight, moment = problem(CHANNELS.weight)
    found = decompose(weight, CHANNELS, 3, moment, sweeps=0)
    tail = np.linalg.svd(weight.reshape(6, 36) @ np.linalg.cholesky(moment), compute_uv=False)[3:]
    assert energy(weight - reconstruct(found), moment) == pytest.approx(np.sum(tail**2), rel=1e-5)


def test_much_better_than_the_plain_svd() -> None:
    shape = KroneckerShape(16, 1, 8, 1, 1, 3, 1, 3)
    weight, moment = problem(shape.weight)
    plain = energy(weight - reconstruct(kronecker.decompose(weight, shape, 3)), moment)
    assert energy(weight - reconstruct(decompose(weight, shape, 3, moment)), moment) < 0.2 * plain


def test_a_layer_too_large_for_normal_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(als, "MAX_UNKNOWNS", 3)
    weight, moment = problem(MIXED.weight)
    found, plain = decompose(weight, MIXED, 2, moment), kronecker.decompose(weight, MIXED, 2)
    error, plain_error = (energy(weight - reconstruct(factors), moment) for factors in (found, plain))
    assert error <= plain_error * (1 + 1e-12)  # both are sums over 36 inputs in double precision


def test_inputs_never_seen_change_nothing_else() -> None:
    weight, moment = problem(SHARED_BASES.weight)
    moment[:9] = moment[:, :9] = 0
    found = reconstruct(decompose(weight, SHARED_BASES, 2, moment))
    assert np.isfinite(found).all() and energy(weight - found, moment) < energy(weight, moment)
    silent = decompose(weight, SHARED_BASES, 2, np.zeros_like(moment))
    assert np.isfinite(reconstruct(silent)).all()


def test_what_does_not_fit() -> None:
    weight, moment = problem(MIXED.weight)
    with pytest.raises(ValueError, match="does not fit"):
        decompose(weight, MIXED, 2, moment[:5, :5])
    with pytest.raises(ValueError, match="does not fit"):
        decompose(weight, MIXED, 2, np.stack([moment] * 3))
    with pytest.raises(ValueError, match="not positive"):
        decompose(weight, MIXED, 2, -2 * moment)
    with pytest.raises(ValueError, match="a start of 3 terms"):
        decompose(weight, MIXED, 2, moment, start=kronecker.decompose(weight, MIXED, 3))
