"""Taking turns: several things timed side by side, so that whatever else the machine does falls on all alike.

A round gives each one turn, in an order that rotates. A turn is a few calls in a row, about `TURN_MS` long, of which
the first finds its data evicted by the others and is not counted, except where one call is that long itself.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TURN_MS = 4.0
MOST_CALLS = 64  # of a turn
WARM_UP = 3  # calls before the first turn
_FEW = 4  # rounds that tell what is hopeless


@dataclass(frozen=True)
class Times:
    """What one of them took: milliseconds of each counted call, round by round."""

    rounds: tuple[tuple[float, ...], ...]

    @property
    def median_ms(self) -> float:
        return _median(self.rounds)

    @property
    def best_ms(self) -> float:
        return min(map(min, self.rounds))

    @property
    def p95_ms(self) -> float:
        return float(np.percentile(np.concatenate(self.rounds), 95))

    def speedup(self, base: "Times") -> float:
        """How many times faster than `base`: the median, over rounds, of the ratio of the medians."""
        ratios = [np.median(a) / np.median(b) for a, b in zip(base.rounds, self.rounds, strict=True)]
        return float(np.median(ratios))


def paired_medians(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float]:
    """The medians of two, given round by round; the other's by how it compares with the one in each round.

    A machine that runs at one speed for a while and at another the next would else have the medians of the two fall
    into different times: with two threads on a virtual machine equal layers then differ by a third.
    """
    median = float(np.median(one))
    known = one > 0  # a profile's step is a microsecond
    if not np.any(known):
        return median, float(np.median(other))
    return median, median * float(np.median(other[known] / one[known]))


def take_turns(
    calls: Sequence[Callable[[], object]],
    seconds: float,
    min_rounds: int = 10,
    max_rounds: int | None = None,
    *,
    most_calls: int = MOST_CALLS,
    hopeless: float = math.inf,
) -> list[Times]:
    """Time `calls` for about `seconds` in all, `min_rounds` rounds at least and `max_rounds` at most.

    After a few rounds that is all, where the last takes `hopeless` times as long as the first.
    """
    at_least = min_rounds if max_rounds is None else min(min_rounds, max_rounds)
    counts = [min(most_calls, _calls_a_turn(call)) for call in calls]
    rounds: list[list[tuple[float, ...]]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    done = 0
    while done < at_least or (time.perf_counter() < end and done != max_rounds):
        for offset in range(len(calls)):
            index = (done + offset) % len(calls)
            rounds[index].append(_turn(calls[index], counts[index]))
        done += 1
        if done == _FEW and _median(rounds[-1]) > hopeless * _median(rounds[0]):
            break
    return [Times(tuple(times)) for times in rounds]


def _median(rounds: Sequence[tuple[float, ...]]) -> float:
    return float(np.median(np.concatenate(rounds)))


def _calls_a_turn(call: Callable[[], object]) -> int:
    """How many calls make a turn, from the fastest of a few, which are the warm-up too."""
    fastest = min(_time_ms(call) for _ in range(WARM_UP))
    return max(1, min(MOST_CALLS, math.ceil(TURN_MS / max(fastest, 1e-6))))


def _turn(call: Callable[[], object], count: int) -> tuple[float, ...]:
    times = tuple(_time_ms(call) for _ in range(count))
    return times[1:] or times


def _time_ms(call: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e6
