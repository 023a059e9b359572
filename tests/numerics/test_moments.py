"""The weighted error is the output's, and the target of compressed inputs is least squares."""

import numpy as np
import pytest

from onnxcomp.numerics.moments import (
    damped,
    energy,
    factor,
    output_statistics,
    restoring_scale,
    target,
    weighted_error,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("groups", [1, 3])
def test_the_error_of_the_output(groups: int) -> None:
    x = RNG.standard_normal((groups, 8, 100))
    weight, other = RNG.standard_normal((2, 6, 4, 2))
    moment = x @ x.swapaxes(1, 2) / 100
    y, z = (one.reshape(groups, -1, 8) @ x for one in (weight, other))
    assert weighted_error(weight, other, moment) == pytest.approx(np.sum((y - z) ** 2) / np.sum(y**2))
    if groups == 1:
        assert weighted_error(weight, other, moment[0]) == pytest.approx(np.sum((y - z) ** 2) / np.sum(y**2))


def test_errors_of_nothing() -> None:
    zero, one = np.zeros((2, 3, 1)), np.ones((2, 3, 1))
    assert weighted_error(zero, zero, np.eye(3)) == 0
    assert weighted_error(zero, one, np.eye(3)) == np.inf
    assert weighted_error(one, zero, np.eye(3)) == 1


def test_damping_is_of_the_mean_diagonal() -> None:
    stack = np.stack([np.diag([1.0, 3.0]), np.zeros((2, 2))])
    np.testing.assert_allclose(damped(stack, 0.5), [[[2, 0], [0, 4]], np.zeros((2, 2))])


def test_the_target_maps_compressed_inputs_to_dense_outputs() -> None:
    x, y = RNG.standard_normal((8, 50)), RNG.standard_normal((6, 50))
    G, H = y @ x.T / 50, x @ x.T / 50
    W = target(G, H)
    np.testing.assert_allclose(W, np.linalg.lstsq(x.T, y.T)[0].T, atol=1e-8)
    other = RNG.standard_normal((6, 8))
    least, error = (np.sum((y - one @ x) ** 2) / 50 for one in (W, other))
    assert energy(W - other, H) == pytest.approx(error - least)


def test_what_the_inputs_do_not_tell_stays_at_the_prior() -> None:
    x, dense = RNG.standard_normal((2, 8, 50)), RNG.standard_normal((2, 3, 8))
    x[:, 5] = 0
    G, H = (dense @ x) @ x.swapaxes(1, 2), x @ x.swapaxes(1, 2)
    prior = dense + RNG.standard_normal(dense.shape)
    W = target(G, H, prior.reshape(6, 4, 2))
    seen = np.arange(8) != 5
    np.testing.assert_allclose(W[..., seen], dense[..., seen], atol=1e-8)
    np.testing.assert_allclose(W[..., 5], prior[..., 5])
    far = target(G, H, prior, damping=1e9)
    np.testing.assert_allclose(far, prior, atol=1e-6)


def test_factors_of_singular_matrices() -> None:
    for matrix in (np.zeros((3, 3)), np.ones((3, 3)), np.diag([1e6, 0, 0])):
        L = factor(matrix)
        np.testing.assert_allclose(L @ L.T, matrix, atol=1e-3)
    with pytest.raises(ValueError, match="infs or NaNs"):
        factor(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="no second moment"):
        factor(-np.eye(2))


def test_statistics_of_an_output_nobody_computed() -> None:
    x = RNG.standard_normal((2, 8, 500)) + 1
    weight = RNG.standard_normal((6, 4, 2))
    y = (weight.reshape(2, 3, 8) @ x).reshape(6, 500)
    mean, std = output_statistics(weight, x @ x.swapaxes(1, 2) / 500, x.mean(axis=2))
    np.testing.assert_allclose(mean, y.mean(axis=1))
    np.testing.assert_allclose(std, y.std(axis=1))


def test_scaled_rows_vary_as_asked_where_any_factor_can_make_them() -> None:
    x = RNG.standard_normal((2, 8, 500))
    x -= x.mean(axis=2, keepdims=True)
    weight = RNG.standard_normal((6, 4, 2))
    weight[4] = 0
    std = np.array([1, 2, 3, 0, 5, 6.0])
    scale = restoring_scale(weight, x @ x.swapaxes(1, 2) / 500, std)
    y = scale[:, None] * (weight.reshape(2, 3, 8) @ x).reshape(6, 500)
    seen = [0, 1, 2, 5]
    np.testing.assert_allclose(y.std(axis=1)[seen], std[seen])
    np.testing.assert_array_equal(scale[[3, 4]], 1)
