"""Curves between strengths that were measured: through the points, rising, nothing beyond them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.context import Timing
from onnxcomp_passes.curves import change_at, error_at, spread, time_at


def test_times_lie_on_the_line_between_those_measured() -> None:
    line = [(1000, Timing(2.0, 1.5)), (500, Timing(1.0, 0.5)), (100, Timing(1.0, 0.3))]
    shares = [found.after_ms for macs in (1000, 750, 500, 300, 100) if (found := time_at(macs, line))]
    np.testing.assert_allclose(shares, [0.75, 0.625, 0.5, 0.4, 0.3])
    beyond = [found.after_ms for macs in (50, 1500) if (found := time_at(macs, line))]
    assert beyond == [0.3, 0.75]
    assert time_at(100, []) is None


@given(st.lists(st.floats(1e-6, 10), min_size=2, max_size=6, unique=True), st.floats(0, 1))
def test_errors_go_through_what_was_measured_and_only_rise(errors: list[float], where: float) -> None:
    shares = np.linspace(0.2, 0.98, len(errors))
    line = list(zip(shares.tolist(), sorted(errors), strict=True))
    for share, error in line:
        assert error_at(share, line) == pytest.approx(error)
    at = 0.2 + 0.78 * where
    nearby = [found for share in (0.2, max(0.2, at - 0.01), at, 0.98) if (found := error_at(share, line)) is not None]
    assert nearby == pytest.approx(sorted(nearby)) and len(nearby) == 4


def test_nothing_is_said_beyond() -> None:
    line = [(0.5, 0.1), (0.9, 0.4)]
    assert error_at(0.4, line) is None and error_at(0.95, line) is None and error_at(0.5, []) is None
    assert error_at(0.5, [(0.5, 0.1)]) == 0.1


def test_a_power_is_met() -> None:
    line = [(share, share**2) for share in (0.2, 0.5, 0.75, 0.9, 0.98)]
    for share in (0.3, 0.6, 0.8, 0.95):
        assert error_at(share, line) == pytest.approx(share**2)


def test_changes_are_a_power_of_the_error() -> None:
    line = [(0.4, 0.16 * 3), (0.1, 0.01 * 3)]
    assert change_at(0.2, line) == pytest.approx(0.04 * 3)
    assert change_at(0.1, line) == pytest.approx(0.03) and change_at(0.5, line) == pytest.approx(0.48)
    assert change_at(0.3, line[:1]) == pytest.approx(0.48)


def test_what_makes_outputs_no_numbers_is_as_bad_as_can_be_in_between() -> None:
    line = [(0.1, 0.1), (0.2, 0.4), (0.4, math.inf)]
    assert change_at(0.3, line) == math.inf and change_at(0.2, line) == pytest.approx(0.4)
    assert change_at(0.1, line[2:]) == change_at(0.1, []) == math.inf


def test_nothing_lost_is_no_error() -> None:
    assert change_at(0.1, [(0.1, 0.0), (0.4, 0.0)]) == pytest.approx(0)
    assert error_at(0.6, [(0.5, 0.0), (0.9, 0.0)]) == pytest.approx(0)


def test_changes_are_measured_around_all_errors_and_evenly_between() -> None:
    errors = [0.8, 0.01, 0.02, 0.04, 0.1, 0.2, 0.4]
    assert spread(errors, 0.02, 0.4, 4) == [0.02, 0.04, 0.2, 0.4]
    assert spread(errors, 0.015, 0.41, 2) == [0.01, 0.8]
    assert spread(errors, 0.001, 9.0, 2) == [0.01, 0.8]
    assert spread([0.1], 0.1, 0.1, 4) == [0.1] and spread([0.1, 0.3], 0.1, 0.3, 4) == [0.1, 0.3]
