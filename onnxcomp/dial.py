"""How far passes that choose under a budget go: until the targets are met, or as far as the bound on accuracy allows.

Both are taken to change once from step to step: a target that is met stays met, a bound that is missed stays missed. So
the step is found by bisection.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import count
from typing import Literal, Protocol

from onnxcomp.bound import SEARCH, Attempt, Bounded, approximations, within_bound
from onnxcomp.context import Context
from onnxcomp.model import Model
from onnxcomp.pass_api import Dial, Pass, Picks, Progress, Proposal
from onnxcomp.pass_manager import Run
from onnxcomp.store import Shelf

STEPS = 16  # of the dial: each is fitted and measured as a whole network, so they are few
_TRIES = STEPS.bit_length() + 1  # as a rule: the whole way, so many halves, and the other losses

Loss = Literal["network", "layer"]


class Dialled(Protocol):
    """A chooser with a dial."""

    def __call__(self, one: Pass, context: Context, proposals: Sequence[Proposal], /, dial: Dial) -> Picks:
        """See `Chooser`."""


@dataclass(frozen=True)
class Verdict:
    """What a run was judged to be."""

    exact: bool  # no weight changed
    holds: bool  # the bound on accuracy
    enough: bool  # it meets the targets
    change: float  # of the network's outputs


@dataclass(frozen=True)
class Judge:
    """What is asked of a run: whether it misses the bound on accuracy, meets the targets, and what it does to outputs.

    `enough` is None where there are no targets: then more is always better. Verdicts are kept on `shelf`, so that a
    search that was broken off goes on where it was.
    """

    missed: Callable[[Run], str | None]
    change: Callable[[Model], float]
    enough: Callable[[Run], bool] | None
    bound: str  # what people call the bound
    shelf: Shelf[Verdict]

    def of(self, run: Run) -> Verdict:
        """The verdict on `run`."""
        exact = not approximations(run)
        holds = exact or self.missed(run) is None
        enough = holds and self.enough is not None and self.enough(run)
        return Verdict(exact, holds, enough, self.change(run.model) if holds and not exact else 0.0)


@dataclass(frozen=True, eq=False)
class _Tried:
    """A place of the dial and the verdict on its run, which is made again where it is not at hand."""

    dial: Dial
    steps: int
    verdict: Verdict
    run: Callable[[], Run]


_Try = Callable[[int, Loss], _Tried]


def farthest(attempt: Attempt, choose: Dialled, judge: Judge, progress: Progress) -> Bounded:
    """The run that goes as far as it should: to the targets, else as far as it may.

    Allocations by the loss of the network are tried at all steps, by bisection. Those by the losses of the layers are
    tried where that ended, and beyond where it is not enough; at equal steps the one decides that changes the outputs
    less. Where not even the first step holds, the rest is left to `within_bound`. Ctrl-C ends the search at the best
    run so far, where there is one.
    """

    tries = count()

    def tried(steps: int, loss: Loss) -> _Tried:
        progress(SEARCH, min(next(tries), _TRIES - 1), _TRIES)
        dial, name = Dial(steps / STEPS, loss), f"{steps} {loss}"
        again = cache(lambda: attempt(partial(choose, dial=dial)))
        verdict = judge.shelf.get(name)
        if verdict is None:
            verdict = judge.of(again())
            judge.shelf.put(name, verdict)
        return _Tried(dial, steps, verdict, again)

    best, notes = _searched(tried, judge)
    if best is None:
        nothing = Dial(0.0)
        rest = within_bound(attempt, partial(choose, dial=nothing), judge.missed, judge.bound, progress)
        return replace(rest, dial=nothing)
    if best.dial.share < 1 and not best.verdict.enough and not notes:
        share = f"{best.dial.share:.0%} of the way to all that could be saved, or was asked for"
        notes = (f"{share}: not within {judge.bound} beyond",)
    return Bounded(best.run(), notes, best.dial)


def _searched(tried: _Try, judge: Judge) -> tuple[_Tried | None, tuple[str, ...]]:
    """The best that holds, None where none does, and what to say of it."""
    best = None
    try:
        for best in _bettered(tried, judge):  # noqa: B007 - the last is the best
            pass
    except KeyboardInterrupt:
        if best is None:
            raise
        return best, (f"interrupted: the best so far, {best.dial.share:.0%} of the way to all that could be saved",)
    return best, ()


def _bettered(tried: _Try, judge: Judge) -> Iterator[_Tried]:
    """Runs that hold, each better than those before it."""
    least = tried(0, "network") if judge.enough else None
    if least and least.verdict.enough:
        yield least
        return
    best = None
    for best in _bisected(tried):
        yield best
    if best and not best.verdict.exact:  # else there was nothing to choose from, by whichever loss
        yield from _climbed(tried, best)


def _bisected(tried: _Try) -> Iterator[_Tried]:
    """By the network's loss: each goes farther than the one before it, or no farther than it has to."""
    whole = tried(STEPS, "network")
    if whole.verdict.holds:
        yield whole
        if not whole.verdict.enough:
            return
    low, high, met = 0, STEPS, whole.verdict.enough
    for _ in range(STEPS.bit_length() - 1):
        middle = (low + high) // 2
        found = tried(middle, "network")
        if found.verdict.enough or (found.verdict.holds and not met):
            yield found
        if found.verdict.holds and not found.verdict.enough:
            low = middle
        else:
            high, met = middle, met or found.verdict.enough


def _climbed(tried: _Try, best: _Tried) -> Iterator[_Tried]:
    """What the layers' losses reach from there: as much with less change, or more where `best` is not enough."""
    for steps in range(best.steps, STEPS + 1):
        found = tried(steps, "layer")
        worse = found.verdict.change >= best.verdict.change or found.verdict.enough < best.verdict.enough
        if not found.verdict.holds or (steps == best.steps and worse):
            return
        yield found
        if found.verdict.enough:
            return
