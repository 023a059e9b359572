"""How far passes that choose under a budget may go: as far as the bound on accuracy allows, found by bisection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol

from onnxcomp.bound import Attempt, Bounded, approximations, within_bound
from onnxcomp.context import Context
from onnxcomp.model import Model
from onnxcomp.pass_api import Dial, Pass, Picks, Proposal
from onnxcomp.pass_manager import Progress, Run

STEPS = 16  # of the dial: each is fitted and measured as a whole network, so they are few

Loss = Literal["network", "layer"]


class Dialled(Protocol):
    """A chooser with a dial."""

    def __call__(self, one: Pass, context: Context, proposals: Sequence[Proposal], /, dial: Dial) -> Picks:
        """See `Chooser`."""


@dataclass(frozen=True, eq=False)
class _Held:
    """A run within the bound, the dial that gave it, in steps too, and what it does to the network's outputs."""

    run: Run
    dial: Dial
    steps: int
    change: float


_Try = Callable[[int, Loss], _Held | None]


def farthest(
    attempt: Attempt,
    choose: Dialled,
    missed: Callable[[Run], str | None],
    change: Callable[[Model], float],
    name: str,
    progress: Progress,
) -> Bounded:
    """The run that goes farthest towards what was asked for of those for which `missed` has no complaint.

    Allocations by the loss of the network are tried at all steps, by bisection: the error is taken to rise from one to
    the next. Those by the losses of the layers are tried where that ended, and beyond; at equal steps the one decides
    whose `change` is less. Where not even the first step holds, the rest is left to `within_bound`, called `name`.
    """

    def tried(steps: int, loss: Loss) -> _Held | None:
        dial = Dial(steps / STEPS, loss)
        run = attempt(partial(choose, dial=dial))
        if not approximations(run):
            return _Held(run, dial, steps, 0.0)
        return _Held(run, dial, steps, change(run.model)) if missed(run) is None else None

    best = tried(STEPS, "network") or _bisected(tried, progress)
    if best is None:
        nothing = Dial(0.0)
        return replace(within_bound(attempt, partial(choose, dial=nothing), missed, name, progress), dial=nothing)
    if approximations(best.run):  # else there was nothing to choose from, by whichever loss
        best = _climbed(tried, best)
    less = f"{best.dial.share:.0%} of the way to all that could be saved, or was asked for: not within {name} beyond"
    return Bounded(best.run, () if best.dial.share == 1 else (less,), best.dial)


def _bisected(tried: _Try, progress: Progress) -> _Held | None:
    """The farthest that holds by the network's loss; all steps are known to miss."""
    best, misses = None, STEPS
    rounds = STEPS.bit_length() - 1
    for done in range(rounds):
        progress("bound", done, rounds)
        middle = ((best.steps if best else 0) + misses) // 2
        found = tried(middle, "network")
        best, misses = (found, misses) if found else (best, middle)
    return best


def _climbed(tried: _Try, best: _Held) -> _Held:
    """`best`, or what the layers' losses reach from there."""
    for steps in range(best.steps, STEPS + 1):
        found = tried(steps, "layer")
        if found is None or (steps == best.steps and found.change >= best.change):
            return best
        best = found
    return best
