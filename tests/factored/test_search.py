"""Search: what it chooses keeps what was asked for, and nothing on the front is beaten."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxcomp.factored.prediction import conv_cost
from onnxcomp.factored.search import Choice, Search, front
from onnxcomp.numerics import als
from onnxcomp.numerics.kronecker import KroneckerShape, decompose, reconstruct
from onnxcomp.numerics.moments import weighted_error
from tests.factored.convs import Walk, target_of

SHAPE = KroneckerShape(4, 8, 2, 8, 1, 3, 1, 3)


def search_of(weight: NDArray[np.float32], share: float = 0.9) -> Search:
    target = target_of(weight, 1, Walk((1, 1), (1, 1), (1, 1, 1, 1)), (28, 28), False, True)
    return Search([weight], conv_cost(target, (28, 28)), share)


@pytest.fixture
def weight() -> NDArray[np.float32]:
    """Two Kronecker products and a little noise."""
    rng = np.random.default_rng(0)
    terms = decompose(rng.standard_normal(SHAPE.weight), SHAPE, 2)
    noisy = reconstruct(terms) + 0.01 * rng.standard_normal(SHAPE.weight)
    return noisy.astype(np.float32)


def error(weight: NDArray[np.float32], choice: Choice) -> float:
    rebuilt = reconstruct(decompose(weight, choice.shape, choice.rank))
    return float(np.linalg.norm(weight - rebuilt) / np.linalg.norm(weight))


def test_errors_are_those_of_the_decompositions(weight: NDArray[np.float32]) -> None:
    found = search_of(weight).within(0.3)
    assert found
    for choice in found:
        assert error(weight, choice) == pytest.approx(choice.error, abs=1e-7)
        assert choice.error <= 0.3 and choice.cost <= 0.9
    assert [choice.cost for choice in found] == sorted(choice.cost for choice in found)


def test_compression_is_kept(weight: NDArray[np.float32]) -> None:
    found = search_of(weight).at(4)
    assert found
    assert all(4 * choice.parameters <= weight.size for choice in found)
    assert [choice.error for choice in found] == sorted(choice.error for choice in found)


def test_on_data_the_closest_is_as_close_as_told(weight: NDArray[np.float32]) -> None:
    rng = np.random.default_rng(1)
    inputs = rng.standard_normal((400, weight[0].size)) @ rng.standard_normal((weight[0].size, weight[0].size))
    moment = inputs.T @ inputs / len(inputs)
    found = replace(search_of(weight, share=10), moments=[moment]).at(3)
    assert [choice.error for choice in found] == sorted(choice.error for choice in found)
    fitted = als.decompose(weight, found[0].shape, found[0].rank, moment)
    error = np.sqrt(weighted_error(weight, reconstruct(fitted), moment))
    plain = np.sqrt(weighted_error(weight, reconstruct(decompose(weight, found[0].shape, found[0].rank)), moment))
    assert 0.7 * found[0].error <= error <= 1.001 * found[0].error < plain


def test_one_shape_alone(weight: NDArray[np.float32]) -> None:
    search = search_of(weight)
    (choice,) = Search(search.groups, search.cost, 10, SHAPE).with_rank(2)
    assert choice.shape == SHAPE and choice.error < 0.2


def test_nothing_is_affordable_where_little_may_be_spent(weight: NDArray[np.float32]) -> None:
    assert search_of(weight, share=1e-3).at(2) == []


def test_known_structure_must_be_cheap_enough(weight: NDArray[np.float32]) -> None:
    assert [choice.rank for choice in search_of(weight, share=10).among([(SHAPE, 2)])] == [2]
    assert search_of(weight, share=1e-3).among([(SHAPE, 2)]) == []


def test_front_drops_what_is_beaten() -> None:
    good, cheap = Choice(SHAPE, 2, 0.1, 0.5), Choice(SHAPE, 1, 0.2, 0.3)
    beaten = Choice(SHAPE, 3, 0.2, 0.6)
    assert front([beaten, good, cheap, cheap]) == [good, cheap]
