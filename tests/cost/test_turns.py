"""Taking turns, with a clock of our own: who is called when, and what is made of the times."""

import time

import numpy as np
import pytest

from onnxcomp.cost.turns import Times, paired_medians, take_turns


class Clock:
    """A clock that only work moves, and the log of who worked."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.log: list[str] = []

    def work(self, name: str, ms: float) -> None:
        self.now_ns += round(ms * 1e6)
        self.log.append(name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter_ns", lambda: clock.now_ns)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now_ns / 1e9)
    return clock


def test_rounds_rotate(clock: Clock) -> None:
    calls = [lambda name=name: clock.work(name, 10) for name in "abc"]
    times = take_turns(calls, seconds=0, min_rounds=4)
    warm_up = 3 * 3
    assert "".join(clock.log[warm_up:]) == "abcbcacababc"
    assert [len(t.rounds) for t in times] == [4, 4, 4]
    assert times[0].median_ms == times[2].p95_ms == 10


def test_short_calls_are_repeated_and_the_first_of_a_turn_is_not_counted(clock: Clock) -> None:
    def cold_after_others() -> None:
        clock.work("a", 1 if clock.log and clock.log[-1] == "a" else 3)

    a, b = take_turns([cold_after_others, lambda: clock.work("b", 8)], seconds=0, min_rounds=5)
    assert a.median_ms == a.p95_ms == 1 and len(a.rounds[0]) == 3
    assert b.median_ms == 8 and len(b.rounds[0]) == 1
    assert a.speedup(b) == 8 and b.speedup(a) == 1 / 8 and a.speedup(a) == 1


@pytest.mark.parametrize(
    ("seconds", "limits", "rounds"),
    [(1.0, (10, None), 100), (0.01, (10, None), 10), (1.0, (10, 30), 30), (1.0, (10, 3), 3)],
)
def test_rounds_fill_the_time(clock: Clock, seconds: float, limits: tuple[int, int | None], rounds: int) -> None:
    (times,) = take_turns([lambda: clock.work("a", 10)], seconds, *limits)
    assert len(times.rounds) == rounds


@pytest.mark.parametrize(("ms", "rounds"), [(12.0, 20), (13.0, 4)])
def test_what_is_hopeless_is_soon_left(clock: Clock, ms: float, rounds: int) -> None:
    calls = [lambda: clock.work("a", 10), lambda: clock.work("b", ms)]
    assert [len(t.rounds) for t in take_turns(calls, 0, 20, hopeless=1.25)] == [rounds, rounds]


def test_medians_that_fall_into_different_times_are_not_compared() -> None:
    """The machine is three times slower for half of the rounds, for one more of the one's than of the other's."""
    slow = np.array([1, 3, 1, 3, 3, 1, 3.0])
    one, other = 6 * slow, 2 * np.array([1, 3, 1, 3, 1, 1, 3.0])
    assert np.median(one) / np.median(other) == 9
    assert paired_medians(one, other) == (18, 6)


def test_what_takes_no_time_is_compared_with_nothing() -> None:
    zero, some = np.zeros(3), np.array([2, 4, 6.0])
    assert paired_medians(zero, some) == (0, 4) and paired_medians(some, zero) == (4, 0)
    assert paired_medians(np.array([0, 4, 4.0]), some) == (4, 5)


def test_a_disturbance_that_hits_a_round_hits_both_sides_of_its_ratio() -> None:
    slow = np.array([1, 1, 5, 1, 5, 5, 1.0])
    a, b = (Times(tuple((float(ms),) for ms in base * slow)) for base in (6, 2))
    assert b.speedup(a) == 3 and (b.best_ms, b.median_ms) == (2, 2)
