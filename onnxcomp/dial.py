"""How far passes that choose under a budget go: until the targets are met, or as far as the bound on accuracy allows.

Both are taken to change once from step to step: a target that is met stays met, a bound that is missed stays missed.
How near a step came to either tells where that is (dial_scale.py), and where that does not help the interval is halved.
Where a try takes longer, a step that is likely to miss the bound is taken to miss it. Where not even the first step
holds, parts of it are tried. What is left of the bound at the last step that holds is then looked at more closely:
where a try takes seconds, parts of the next step are tried that are likely to hold and save enough; where it takes no
time, the steps beyond while they come near, as what inputs are counted for goes up and down on its way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from math import ceil, inf, log
from time import perf_counter
from typing import Literal, Protocol, get_args

from onnxcomp.bound import SEARCH, Attempt, Bounded, Trial, approximations, within_bound
from onnxcomp.context import Context
from onnxcomp.dial_scale import Scale
from onnxcomp.model import Model
from onnxcomp.pass_api import Dial, Pass, Picks, Progress, Proposal
from onnxcomp.pass_manager import Run
from onnxcomp.store import Shelf

STEPS = 16  # of the dial: each is fitted and measured as a whole network, so they are few
FINER = 4  # times as many, where a try takes no time, the first step is too much, or a bound is not used up
COARSER = 2  # times fewer, where it takes minutes
_QUICK_S, _SLOW_S = 5.0, 60.0  # of one
_TRIES = 5  # as a rule, the other losses included
_SURELY = 0.5  # of a step: where a bound is likely to be passed that near, the next one, a large one, is not tried
_WORTH = 0.025  # of the cost: where a try takes seconds, what saves less is not looked for
_UNEVEN = 1.25  # of what is used up of a bound: 0.9 to 1.1 by turns over eight of 64 steps, on a resnet8
_PATIENCE = 4  # tries, before an interval is halved of which nothing has passed the bound

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
    loss: float | None = None  # that is expected about where the bound is used up

    def of(self, run: Run) -> Trial:
        """What `run` is judged to be."""
        exact = not approximations(run)
        strain = 0.0 if exact else self.strain(run)
        front = next((one.front for one in run.passes if one.front), None)
        expected = tuple(point.loss for point in front.points) if front else ()
        end_cost = front.points[-1].cost if front else 0.0
        if strain > 1:
            return Trial(exact, strain, 0.0, inf, expected, end_cost)
        reached = 0.0 if self.reached is None else self.reached(run)
        return Trial(exact, strain, reached, 0.0 if exact else self.change(run.model), expected, end_cost)


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
    `whole`: begin with the whole way, which then ends at what was asked for, not at the least that layers can cost.
    """

    trials: dict[Dial, Trial] = {}

    def tried(share: float, loss: Loss) -> _Tried:
        progress(SEARCH, min(len(trials), _TRIES - 1), _TRIES)
        if share == 1 and not whole:  # all layers are as cheap as can be, by either loss
            loss = "network"
        dial, name = Dial(share, loss), f"{share} {loss}"
        again = cache(lambda: attempt(partial(choose, dial=dial)))
        trial = trials.get(dial) or judge.shelf.get(name)
        if trial is None:
            start = perf_counter()
            trial = replace(judge.of(again()), seconds=perf_counter() - start)
            judge.shelf.put(name, trial)
        trials[dial] = trial
        return _Tried(dial, trial, again)

    best, notes = _searched(tried, judge, trials, whole=whole)
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


def _searched(
    tried: _Try, judge: Judge, seen: Mapping[Dial, Trial], *, whole: bool
) -> tuple[_Tried | None, tuple[str, ...]]:
    """The best that holds, None where none does, and what to say of it."""
    best = None
    try:
        for best in _bettered(tried, judge, seen, whole=whole):  # noqa: B007 - the last is the best
            pass
    except KeyboardInterrupt:
        if best is None:
            raise
        return best, (f"interrupted: the best so far, {best.dial.share:.0%} of the way to all that could be saved",)
    return best, ()


def _bettered(tried: _Try, judge: Judge, seen: Mapping[Dial, Trial], *, whole: bool) -> Iterator[_Tried]:
    """Runs that hold, each better than those before it; `seen` are all the trials so far."""
    least = tried(0.0, "network")  # what is found out of the layers is found out here
    if judge.reached and least.trial.enough:
        yield least
        return
    best = None
    to_target = judge.reached is not None
    scale = Scale() if to_target else Scale.of(least.trial.expected)
    start = 1.0 if whole or to_target else _start(scale, judge.loss)
    for best in _approached(tried, start, least.trial, scale, to_target=to_target):
        yield best
    if best and not best.trial.exact:  # else there was nothing to choose from, by whichever loss
        steps, higher = _steps(best.trial), best
        for higher in _climbed(tried, best):
            yield higher
        if steps > STEPS:
            yield from _beyond(tried, higher)
        elif steps == STEPS:
            yield from _between(tried, higher, scale if higher.dial.loss == "network" else Scale(), seen)


def _start(scale: Scale, loss: float | None) -> float:
    """Half of the way, or about where so much is expected to be lost."""
    if not loss or not scale.is_known:
        return 0.5
    steps = STEPS // COARSER  # of every dial
    return min(max(round(scale.expects(loss) * steps), 1), steps) / steps


def _approached(tried: _Try, start: float, least: Trial, scale: Scale, *, to_target: bool) -> Iterator[_Tried]:
    """By the network's loss: each goes farther than the one before it, or no farther than it has to.

    Sought is the place between what holds and is not enough, and what is enough or misses the bound: where a figure
    passes one, which is that of `least` where nothing is done, and first looked for at the share `start`.
    """
    found = tried(start, "network")
    steps = _steps(found.trial)
    margin = 0.0 if steps >= STEPS or to_target else _SURELY
    low, high, met, passed = (0.0, least.reached), (1 + 1 / steps, inf), False, False
    slope, widths = None, [high[0]]
    while True:
        trial = found.trial
        if trial.enough or (trial.holds and not met):
            yield found
        met = met or trial.enough
        here = found.dial.share, trial.figure
        if trial.holds and not trial.enough:
            before, low = low, here
        else:
            before, high, passed = high, here, True
        slope = scale.slope(before, here) or slope
        widths.append(high[0] - low[0])
        passes = scale.passes(low, high, slope or 1.0) * steps
        first, last = round(low[0] * steps), round(high[0] * steps)
        if steps == STEPS and not to_target and (slope or scale.is_known):
            margin = 1 / _parts(least)  # what is nearer is not looked for afterwards either
        if last - first <= 1 or (low[1] and passes < first + margin):
            if first or met or steps > STEPS:
                return
            # The first step is too much: from here on it has steps of its own.
            steps, slope, widths = FINER * steps, None, [high[0]]
            passes, last = scale.passes(low, high) * steps, FINER
        guessed = not slope and (not low[1] or high[1] == inf)  # by one figure, and the growth that is expected
        slow = len(widths) > (2 if passed else _PATIENCE) and 2 * widths[-1] > widths[-2 if guessed else -3]
        if not passed:  # rather beyond it than short of it: then it lies between two that are known
            passes = ceil(passes) if len(widths) > 2 else round(passes) if scale.is_known else passes
        place = (first + last) // 2 if slow else int(min(max(passes, first + 1), last - 1))
        found = tried(place / steps, "network")


def _steps(first: Trial) -> int:
    """How many the dial has, by how long the first try took."""
    if first.seconds < _QUICK_S:
        return STEPS * FINER
    return STEPS if first.seconds < _SLOW_S else STEPS // COARSER


def _parts(least: Trial) -> int:
    """How many of a step are worth telling apart, where a try takes seconds: by what the dial's end is to cost."""
    if not least.end_cost:
        return FINER
    return min(max(int(-log(least.end_cost) / STEPS / _WORTH), 1), FINER)


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


def _between(tried: _Try, best: _Tried, scale: Scale, seen: Mapping[Dial, Trial]) -> Iterator[_Tried]:
    """What holds between that and the next step, by the same loss, where it is not enough: where that is likely."""
    steps, loss = STEPS * _parts(best.trial), best.dial.loss
    beyond = seen.get(Dial(best.dial.share + 1 / STEPS, loss))
    low, high = (best.dial.share, best.trial.strain), (best.dial.share + 1 / STEPS, beyond.strain if beyond else inf)
    before = [(dial.share, one.strain) for dial, one in seen.items() if dial.loss == loss and 0 < dial.share < low[0]]
    slope = scale.slope(max(before), low) if before else None
    while not best.trial.enough:
        place = int(min(scale.passes(low, high, slope or 1.0) * steps, round(high[0] * steps) - 1, steps))
        if place <= round(low[0] * steps):
            return
        found = tried(place / steps, loss)
        here = found.dial.share, found.trial.strain
        if found.trial.holds:
            yield found
            best, low = found, here
        else:
            high = here


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
