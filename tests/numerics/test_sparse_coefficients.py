"""Sparse coefficients of shared bases: the problem they are, and what pruning them on data wins."""

import numpy as np
import pytest

from onnxcomp.numerics import shared_basis
from onnxcomp.numerics.moments import energy
from onnxcomp.numerics.projections import zeros
from onnxcomp.numerics.sparse_coefficients import coefficient_problem, prune_coefficients
from tests.numerics.oracle import random_moment


def problem(groups: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    moment = np.stack([random_moment(36, rng, 0.7) for _ in range(groups)])
    return rng.standard_normal((8 * groups, 4, 3, 3)), moment if groups > 1 else moment[0]


@pytest.mark.parametrize("groups", [1, 2])
def test_near_in_coefficients_is_near_in_weights(groups: int) -> None:
    weight, moment = problem(groups)
    rng = np.random.default_rng(1)
    bases, prior, other = rng.standard_normal((3, 3, 3)), *rng.standard_normal((2, 8 * groups, 4, 3))
    wanted, gram = coefficient_problem(weight, prior, bases, moment)
    least = energy(weight - shared_basis.reconstruct(wanted, bases), moment)
    error = energy(weight - shared_basis.reconstruct(other, bases), moment)
    assert energy(wanted - other, gram) == pytest.approx(error - least, rel=1e-6)


@pytest.mark.parametrize("groups", [1, 2])
def test_better_than_thresholds(groups: int) -> None:
    weight, moment = problem(groups)
    C, B = shared_basis.decompose(weight, 5)
    thresholded = energy(weight - shared_basis.reconstruct(zeros(0.6)(C), B), moment)
    start = shared_basis.decompose(weight, 5, moment)
    errors = []
    for rough in (True, False):
        C, B = prune_coefficients(weight, start, moment, zeros(0.6), rough=rough)
        assert C.shape == (8 * groups, 4, 5) and np.count_nonzero(C) == round(0.4 * C.size) and B.shape == (5, 3, 3)
        errors.append(energy(weight - shared_basis.reconstruct(C, B), moment))
    assert errors[1] < errors[0] < 0.5 * thresholded
