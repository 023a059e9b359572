"""The knapsack: exact against brute force, within its limit, and the cheapest where nothing is."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.numerics.allocation import Array, allocate

LAYERS = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def total(parts: list[Array], choice: tuple[int, ...] | list[int]) -> float:
    return float(sum(part[index] for part, index in zip(parts, choice, strict=True)))


@given(LAYERS, st.integers(0, 2**31), st.floats(0, 1))
def test_no_other_choice_within_the_limit_loses_less(sizes: list[int], seed: int, tightness: float) -> None:
    rng = np.random.default_rng(seed)
    costs, losses = ([rng.random(size) for size in sizes] for _ in range(2))
    least = sum(float(cost.min()) for cost in costs)
    limit = least + tightness * (sum(float(cost.max()) for cost in costs) - least)
    found = allocate(costs, losses, limit)
    within = [c for c in itertools.product(*map(range, sizes)) if total(costs, c) <= limit * (1 + 1e-9)]
    assert total(costs, found) <= limit * (1 + 1e-6)
    assert total(losses, found) <= min(total(losses, choice) for choice in within) + 1e-6
    assert found == allocate(costs, losses, limit)


@given(LAYERS, st.integers(0, 2**31))
def test_a_larger_limit_never_loses_more(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    costs, losses = ([rng.random(size) for size in sizes] for _ in range(2))
    lost = [total(losses, allocate(costs, losses, limit)) for limit in np.linspace(0, len(sizes), 5)[1:]]
    feasible = [
        one
        for one, limit in zip(lost, np.linspace(0, len(sizes), 5)[1:], strict=True)
        if limit >= sum(float(cost.min()) for cost in costs)
    ]
    assert feasible == sorted(feasible, reverse=True)


def test_the_cheapest_where_nothing_is_within_the_limit() -> None:
    costs = [np.array([5.0, 2.0, 2.0]), np.array([1.0])]
    losses = [np.array([0.0, 3.0, 1.0]), np.array([7.0])]
    assert allocate(costs, losses, 0.0) == [2, 0]


def test_losses_of_all_magnitudes_and_costs_that_nobody_has() -> None:
    costs = [np.array([1e9, 1e-3]), np.array([1e9, 1e-3]), np.zeros(2)]
    losses = [np.array([0.0, 1e6]), np.array([0.0, 1e-9]), np.array([0.0, 1.0])]
    assert allocate(costs, losses, 1.5e9) == [0, 1, 0]
    assert allocate([], [], 0.0) == []
