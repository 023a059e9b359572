"""How far passes that choose under a budget go: until the targets are met, or as far as the bound on accuracy allows.

Both are taken to change once from step to step: a target that is met stays met, a bound that is missed stays missed.
How near a step came to either tells where that is: what is used up of the bound, and what is reached of a target, grow
by about the same factor from each step to the next. So the next step to try is read off a line through logarithms, and
where that does not help the interval is halved. Where a try takes minutes, a step that is likely to miss the bound by
much is taken to miss it. Where not even the first step holds, parts of it are tried. What is left of the bound at the
last step that holds is then looked at more closely: where a try takes seconds, parts of the next step are tried that
are likely to hold; where it takes no time, the steps beyond while they come near, as what inputs are counted for goes
up and down on its way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from math import ceil, inf, log
from time import perf_counter
from typing import Literal, Protocol, get_args

from onnxcomp.bound import SEARCH, Attempt, Bounded, Trial, approximations, within_bound
from onnxcomp.context import Context
from onnxcomp.model import Model
from onnxcomp.pass_api import Dial, Pass, Picks, Progress, Proposal
from onnxcomp.pass_manager import Run
from onnxcomp.store import Shelf

STEPS = 16  # of the dial: each is fitted and measured as a whole network, so they are few
FINER = 4  # times as many, where a try takes no time, the first step is too much, or a bound is not used up
COARSER = 2  # times fewer, where it takes minutes
_QUICK_S, _SLOW_S = 5.0, 60.0  # of one
_TRIES = 5  # as a rule, the other losses included
_SURELY = 0.5  # of a step: where a bound is likely to be passed that near, the next step is not tried
_UNEVEN = 1.25  # of what is used up of a bound: 0.9 to 1.1 by turns over eight of 64 steps, on a resnet8
_PATIENCE = 4  # tries, before an interval is halved of which nothing has passed the bound
_GROWTH = 1.5  # of what is used up of a bound, one of STEPS: a first guess; 1.4 to 1.7 on a resnet20

Loss = Literal["network", "layer"]


class Dialled(Protocol):
    """A chooser with a dial."""

    def __call__(self, one: Pass, context: Context, proposals: Sequence[Proposal], /, dial: Dial) -> Picks:
        """See `Chooser`."""


@dataclass(frozen=True)
class Judge:
    """What is asked of a run: what it uses up of the bound, reaches of the targets, and does to outputs.

    `reached` is None where there are no targets: then more is always better. Trials are kept on `shelf`, so that a
    search that was broken off goes on where it was.
    """

    strain: Callable[[Run], float]
    change: Callable[[Model], float]
    reached: Callable[[Run], float] | None
    bound: str  # what people call the bound
    shelf: Shelf[Trial]

    def of(self, run: Run) -> Trial:
        """What `run` is judged to be."""
        exact = not approximations(run)
        strain = 0.0 if exact else self.strain(run)
        if strain > 1:
            return Trial(exact, strain, 0.0, inf)
        reached = 0.0 if self.reached is None else self.reached(run)
        return Trial(exact, strain, reached, 0.0 if exact else self.change(run.model))


@dataclass(frozen=True, eq=False)
class _Tried:
    """A place of the dial and what its run was judged to be, which is made again where it is not at hand."""

    dial: Dial
    trial: Trial
    run: Callable[[], Run]


_Try = Callable[[float, Loss], _Tried]


def farthest(attempt: Attempt, choose: Dialled, judge: Judge, progress: Progress, *, whole: bool = False) -> Bounded:
    """The run that goes as far as it should: to the targets, else as far as it may.

    Allocations by the loss of the network are tried first. Those by the losses of the layers are tried where that
    ended, and beyond where it is not enough; at equal steps the one decides that changes the outputs less. Where no
    step holds, the rest is left to `within_bound`. Ctrl-C ends the search at the best run so far, where there is one.
    `whole`: begin with the whole way.
    """

    trials: dict[Dial, Trial] = {}

    def tried(share: float, loss: Loss) -> _Tried:
        progress(SEARCH, min(len(trials), _TRIES - 1), _TRIES)
        dial, name = Dial(share, loss), f"{share} {loss}"
        again = cache(lambda: attempt(partial(choose, dial=dial)))
        trial = trials.get(dial) or judge.shelf.get(name)
        if trial is None:
            start = perf_counter()
            trial = replace(judge.of(again()), seconds=perf_counter() - start)
            judge.shelf.put(name, trial)
        trials[dial] = trial
        return _Tried(dial, trial, again)

    best, notes = _searched(tried, judge, whole=whole)
    if best is None:
        nothing = Dial(0.0)
        rest = within_bound(attempt, partial(choose, dial=nothing), judge.strain, judge.bound, progress)
        least = min(dial.share for dial in trials if dial.share)
        note = f"not even {least:.0%} of the way to all that could be saved, or was asked for, is within {judge.bound}"
        return replace(rest, notes=(*rest.notes, note), dial=nothing, trials=trials)
    if best.dial.share < 1 and not best.trial.enough and not notes:
        share = f"{best.dial.share:.0%} of the way to all that could be saved, or was asked for"
        seen = any(dial.share > best.dial.share for dial in trials)
        notes = (f"{share}: not within {judge.bound} beyond{'' if seen else ', as far as can be expected'}",)
    return Bounded(best.run(), notes, best.dial, trials)


def _searched(tried: _Try, judge: Judge, *, whole: bool) -> tuple[_Tried | None, tuple[str, ...]]:
    """The best that holds, None where none does, and what to say of it."""
    best = None
    try:
        for best in _bettered(tried, judge, whole=whole):  # noqa: B007 - the last is the best
            pass
    except KeyboardInterrupt:
        if best is None:
            raise
        return best, (f"interrupted: the best so far, {best.dial.share:.0%} of the way to all that could be saved",)
    return best, ()


def _bettered(tried: _Try, judge: Judge, *, whole: bool) -> Iterator[_Tried]:
    """Runs that hold, each better than those before it."""
    least = tried(0.0, "network")  # what is found out of the layers is found out here
    if judge.reached and least.trial.enough:
        yield least
        return
    best = None
    start = 1.0 if whole or judge.reached else 0.5
    for best in _approached(tried, start, least.trial.reached, to_target=judge.reached is not None):
        yield best
    if best and not best.trial.exact:  # else there was nothing to choose from, by whichever loss
        steps, higher = _steps(best.trial), best
        for higher in _climbed(tried, best):
            yield higher
        if steps > STEPS:
            yield from _beyond(tried, higher)
        elif steps == STEPS:
            yield from _between(tried, higher)


def _approached(tried: _Try, start: float, least: float, *, to_target: bool) -> Iterator[_Tried]:
    """By the network's loss: each goes farther than the one before it, or no farther than it has to.

    Sought is the place between what holds and is not enough, and what is enough or misses the bound: where a figure
    passes one, which is `least` where nothing is done, and first looked for at the share `start`.
    """
    found = tried(start, "network")
    steps = _steps(found.trial)
    usual, growth = _GROWTH ** (STEPS / steps), None
    margin = 0.0 if steps >= STEPS or to_target else _SURELY
    low, high, met, passed = (0, least), (steps + 1, inf), False, False
    widths, place = [high[0]], round(start * steps)
    while True:
        trial = found.trial
        if trial.enough or (trial.holds and not met):
            yield found
        met = met or trial.enough
        here = place, trial.figure
        if trial.holds and not trial.enough:
            before, low = low, here
        else:
            before, high, passed = high, here, True
        growth = _growth(before, here) or growth
        widths.append(high[0] - low[0])
        passes = _passes(low, high, growth or usual)
        if widths[-1] <= 1 or (low[1] and passes < low[0] + margin):
            if low[0] or met or steps > STEPS:
                return
            # The first step is too much: from here on it has steps of its own.
            steps, usual, growth = FINER * steps, usual ** (1 / FINER), None
            high, widths = (FINER, high[1]), [FINER]
            passes = _passes(low, high, usual)
        guessed = not growth and (not low[1] or high[1] == inf)  # by one figure, and the growth that is usual
        slow = len(widths) > (2 if passed else _PATIENCE) and 2 * widths[-1] > widths[-2 if guessed else -3]
        if not passed and len(widths) > 2:  # rather beyond it than short of it: then it lies between two that are known
            passes = ceil(passes)
        place = (low[0] + high[0]) // 2 if slow else int(min(max(passes, low[0] + 1), high[0] - 1))
        found = tried(place / steps, "network")


def _steps(first: Trial) -> int:
    """How many the dial has, by how long the first try took."""
    if first.seconds < _QUICK_S:
        return STEPS * FINER
    return STEPS if first.seconds < _SLOW_S else STEPS // COARSER


def _passes(low: tuple[int, float], high: tuple[int, float], growth: float) -> float:
    """Between steps at which a figure is less and more than one: where it is likely to pass it."""
    (k0, f0), (k1, f1) = low, high
    growth = _growth(low, high) or growth
    if f0 > 0:
        return k0 - log(f0) / log(growth)
    return k1 - log(f1) / log(growth) if f1 < inf else k1


def _growth(one: tuple[int, float], other: tuple[int, float]) -> float | None:
    """Of a figure from each step to the next, by two steps; None where it did not grow."""
    (k0, f0), (k1, f1) = sorted((one, other))
    growth = (f1 / f0) ** (1 / (k1 - k0)) if 0 < f0 < f1 < inf else 1.0
    return growth if growth > 1 else None


def _climbed(tried: _Try, best: _Tried) -> Iterator[_Tried]:
    """What the layers' losses reach from there: as much with less change, or more where `best` is not enough."""
    start = share = best.dial.share
    step = 1 / min(STEPS, _steps(best.trial))
    while share <= 1:
        found = tried(share, "layer")
        worse = found.trial.change >= best.trial.change or found.trial.enough < best.trial.enough
        if not found.trial.holds or (share == start and worse):
            return
        yield found
        if found.trial.enough:
            return
        share += step


def _between(tried: _Try, best: _Tried) -> Iterator[_Tried]:
    """What holds between that and the next step, by the same loss, where it is not enough: where that is likely."""
    steps, loss = STEPS * FINER, best.dial.loss
    place = round(best.dial.share * steps)
    if place + 1 >= steps:
        return
    beyond = tried(min(place + FINER, steps) / steps, loss)  # known, as a rule
    low, high = (place, best.trial.strain), (min(place + FINER, steps), beyond.trial.strain)
    while not best.trial.enough:
        place = int(min(_passes(low, high, _GROWTH ** (1 / FINER)), high[0] - 1))
        if place <= low[0]:
            return
        found = tried(place / steps, loss)
        if found.trial.holds:
            yield found
            best, low = found, (place, found.trial.strain)
        else:
            high = place, found.trial.strain


def _beyond(tried: _Try, best: _Tried) -> Iterator[_Tried]:
    """What holds farther on, by either loss, where it is not enough and steps come near."""
    steps = STEPS * FINER
    last = place = round(best.dial.share * steps)
    while not best.trial.enough and place < min(last + FINER, steps):
        place += 1
        nearest = inf
        for loss in get_args(Loss):
            found = tried(place / steps, loss)
            nearest = min(nearest, found.trial.strain)
            if found.trial.holds:
                yield found
                best, last = found, place
                break
        if nearest > _UNEVEN:
            return
