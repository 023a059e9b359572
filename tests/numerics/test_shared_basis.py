"""Shared bases: optimal, orthonormal, and exact where the weight has them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.numerics.moments import energy
from onnxcomp.numerics.shared_basis import decompose, reconstruct
from tests.numerics.oracle import random_moment


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from([(3, 3), (1, 1), (5,), (2, 2, 2)]), st.data())
def test_the_best_bases(C_out: int, C_in: int, kernel: tuple[int, ...], data: st.DataObject) -> None:
    weight = random(C_out, C_in, *kernel)
    kernels = weight.reshape(C_out * C_in, -1)
    d = data.draw(st.integers(1, min(kernels.shape)))
    coefficients, bases = decompose(weight, d)
    assert coefficients.shape == (C_out, C_in, d) and bases.shape == (d, *kernel)
    flat = bases.reshape(d, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(d), atol=1e-12)
    tail = np.linalg.svd(kernels, compute_uv=False)[d:]
    assert np.sum((weight - reconstruct(coefficients, bases)) ** 2) == pytest.approx(np.sum(tail**2), abs=1e-12)


def test_exact_bases_are_found() -> None:
    weight = reconstruct(random(16, 8, 3), random(3, 3, 3)).astype(np.float32)
    np.testing.assert_allclose(reconstruct(*decompose(weight, 3)), weight, atol=1e-6)


def test_more_bases_than_can_matter() -> None:
    with pytest.raises(ValueError, match="outside 1 to 9"):
        decompose(random(4, 4, 3, 3), 10)


def test_closer_on_data_than_without() -> None:
    weight, moment = random(16, 8, 3, 3), random_moment(72, np.random.default_rng(0))
    plain, aware = decompose(weight, 3), decompose(weight, 3, moment)
    errors = [energy(weight - reconstruct(*one), moment) for one in (plain, aware)]
    assert errors[1] < 0.2 * errors[0]
    assert [part.shape for part in aware] == [part.shape for part in plain]
