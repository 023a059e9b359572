"""The cheapest division, against trying all of them."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.numerics.cut import Cut

THINGS = ("a", "b", "c", "d")
ENDS = st.sampled_from((Cut.SOURCE, Cut.SINK, *THINGS))
COSTS = st.one_of(st.floats(0, 1e3, width=32), st.just(math.inf))
PAIRS = st.dictionaries(st.tuples(ENDS, ENDS), COSTS, max_size=14)


def cost_of(pairs: dict[tuple[str, str], float], on_sinks_side: set[str]) -> float:
    """What a division costs."""
    far = {*on_sinks_side, Cut.SINK}
    return sum(ms for (a, b), ms in pairs.items() if a not in far and b in far)


@given(PAIRS)
def test_nothing_is_cheaper(pairs: dict[tuple[str, str], float]) -> None:
    cut = Cut()
    for (a, b), ms in pairs.items():
        cut.add(a, b, ms)
    choices = [set(chosen) for n in range(5) for chosen in itertools.combinations(THINGS, n)]
    cheapest = min(cost_of(pairs, choice) for choice in choices)
    if math.isfinite(cheapest):
        found = {str(thing) for thing in cut.on_sinks_side()} & set(THINGS)
        assert cost_of(pairs, found) <= cheapest + 1e-4  # costs are rounded


def test_costs_of_one_pair_add_up() -> None:
    cut = Cut()
    cut.add(Cut.SOURCE, "a", 2.0)
    cut.add("a", Cut.SINK, 1.5)
    assert cut.on_sinks_side() == {Cut.SINK}
    cut.add("a", Cut.SINK, 1.0)
    assert cut.on_sinks_side() == {Cut.SINK, "a"}


def test_a_tie_goes_to_the_source() -> None:
    cut = Cut()
    cut.add(Cut.SOURCE, "a", 1.0)
    cut.add("a", Cut.SINK, 1.0)
    assert cut.on_sinks_side() == {Cut.SINK}


def test_large_costs_do_not_overflow() -> None:
    cut = Cut()
    for thing, nearer, farther in (("a", 1e9, 2e9), ("b", 3e9, 1e9)):
        cut.add(Cut.SOURCE, thing, nearer)
        cut.add(thing, Cut.SINK, farther)
    assert cut.on_sinks_side() == {Cut.SINK, "a"}
