"""The knapsack: exact against brute force, within its limit, and the cheapest where nothing is."""

import ctypes
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.numerics.allocation import Array, Joint, _silenced_stdout, allocate, cheapest
from onnxcomp.numerics.allocation import total as whole
from onnxcomp.numerics.cut import Cut

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


@given(LAYERS, st.integers(0, 2**31), st.floats(0, 1))
def test_what_choices_cost_together_counts(sizes: list[int], seed: int, tightness: float) -> None:
    rng = np.random.default_rng(seed)
    costs, losses = ([rng.random(size) for size in sizes] for _ in range(2))
    sides = [np.concatenate([[False], rng.random(size - 1) < 0.5]) for size in sizes]
    names = [None if rng.random() < 0.2 else f"layer {i}" for i in range(len(sizes))]
    things = [*filter(None, names), "between", "behind", Cut.SOURCE, Cut.SINK]
    cut = Cut()
    for _ in range(12):
        a, b = rng.choice(len(things), 2)
        if things[a] != Cut.SINK and things[b] != Cut.SOURCE:
            cut.add(things[a], things[b], float(rng.random()) / 4)
    cut.add("between", "behind", np.inf)
    joint = Joint(cut, names, sides)

    def priced(choice: tuple[int, ...] | list[int]) -> float:
        """By trying both sides for what is free."""
        fixed = {name: bool(side[i]) for name, side, i in zip(names, sides, choice, strict=True) if name}
        best = np.inf
        for between, behind in itertools.product((False, True), repeat=2):
            at = {**fixed, "between": between, "behind": behind, Cut.SOURCE: False, Cut.SINK: True}
            best = min(best, sum(ms for (a, b), ms in cut.costs.items() if at[b] and not at[a]))
        return best

    def spent(choice: tuple[int, ...] | list[int]) -> float:
        return total(costs, choice) + priced(choice) - priced([0] * len(sizes))

    every = list(itertools.product(*map(range, sizes)))
    for choice in every[:5]:
        assert whole(costs, choice, joint) == pytest.approx(spent(choice), abs=1e-6)
    least, most = min(map(spent, every)), max(map(spent, every))
    limit = least + tightness * (most - least) + 1e-5
    assert spent(cheapest(costs, losses, joint)) == pytest.approx(least, abs=1e-5)
    found = allocate(costs, losses, limit, joint)
    assert spent(found) <= limit + 1e-5
    assert total(losses, found) <= min(total(losses, one) for one in every if spent(one) <= limit - 1e-5) + 1e-6


def test_what_the_solver_prints_stays_off_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    c = ctypes.CDLL(None)
    c.printf(b"before\n")
    with _silenced_stdout():
        c.printf(b"debugging\n")
    c.printf(b"after\n")
    c.fflush(None)
    assert capfd.readouterr().out == "before\nafter\n"
