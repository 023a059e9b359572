"""Where a figure is likely to pass one, by what is expected and by what was seen."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.dial_scale import Scale

EVEN = Scale()
STEEPER = tuple((step / 16) ** 4 for step in range(17))  # losses


def test_by_one_figure_the_growth_that_is_usual() -> None:
    assert EVEN.passes((0.5, 1.5**-2), (1.0, inf)) == pytest.approx(0.5 + 2 / 16)
    assert EVEN.passes((0.0, 0.0), (0.5, 1.5**2)) == pytest.approx(0.5 - 2 / 16)
    assert EVEN.passes((0.0, 0.0), (0.5, inf)) == 0.5  # nothing is known


def test_by_two_figures_their_own_growth() -> None:
    assert EVEN.passes((0.25, 0.5), (0.75, 2.0)) == pytest.approx(0.5)
    assert EVEN.slope((0.75, 2.0), (0.25, 0.5)) == EVEN.slope((0.25, 0.5), (0.75, 2.0))
    assert EVEN.slope((0.25, 0.5), (0.75, 0.4)) is None  # it did not grow: that which is given counts
    assert EVEN.passes((0.25, 0.5), (0.75, 0.4), slope=2.0) < EVEN.passes((0.25, 0.5), (0.75, 0.4))


@given(st.floats(0.3, 0.95), st.floats(0.1, 0.9), st.integers(1, 8))
def test_figures_that_grow_as_is_expected(passing: float, at: float, power: int) -> None:
    scale = Scale.of([(step / 64) ** power for step in range(65)])
    low = at * passing
    assert scale.passes((low, at**power), (1.0, inf)) == pytest.approx(passing, abs=0.02)


def test_what_grows_faster_than_expected() -> None:
    scale = Scale.of(STEEPER)
    assert scale.slope((0.25, 1.0), (0.5, 2.0**8)) is None  # beyond both, what is expected counts
    assert scale.passes((0.25, 2.0**-8), (1.0, 2.0**8)) == pytest.approx(0.5)  # between them, they do


@pytest.mark.parametrize(
    "losses",
    [
        (),
        (0.0,),
        (0.0, 0.0, 1.0),  # one alone tells nothing
        (0.0, 1.0, 0.5),  # nor do such that end before the dial does
        (0.0, 1.0, inf),
    ],
)
def test_where_little_is_expected_steps_are_even(losses: tuple[float, ...]) -> None:
    assert Scale.of(losses) == EVEN


def test_steps_that_lose_nothing_or_as_much_as_before_tell_nothing() -> None:
    scale = Scale.of((0.0, 0.0, 1.0, 1.0, 4.0))
    assert scale.shares == (0.0, 0.5, 1.0)
    assert scale.logs == tuple(sorted(scale.logs)) and scale.logs[1] == 0.0
