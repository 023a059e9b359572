"""How much of what was asked for the accuracy bound allows: as few approximations are left out as will do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from onnxcomp.context import Context
from onnxcomp.pass_api import Candidate, Chooser, Declined, Dial, Pass, Progress, Proposal
from onnxcomp.pass_manager import Applied, Run

SEARCH = "search"  # the stage that has all others in it: each round is a run of all passes
Attempt = Callable[[Chooser], Run]
"""A run of all passes with that chooser."""


@dataclass(frozen=True)
class Trial:
    """What a run was judged to be."""

    exact: bool  # no weight changed
    strain: float  # how much of what the bound on accuracy allows is used up: above one it is missed
    reached: float  # how much of the targets is reached: from one on they are met; 0 where there are none
    change: float  # of the network's outputs
    expected: tuple[float, ...] = ()  # losses at even steps of the dial, where nothing is done first
    end_cost: float = 0.0  # that is expected at its end, as a share of the dense layers'; 0 where it is not known
    seconds: float = 0.0  # that it took to fit and to judge

    @property
    def holds(self) -> bool:
        """The bound."""
        return self.strain <= 1

    @property
    def enough(self) -> bool:
        """The targets are met, within the bound."""
        return self.holds and self.reached >= 1

    @property
    def figure(self) -> float:
        """How far this goes: from one on it is enough, or too far."""
        return max(self.strain, self.reached)


@dataclass(frozen=True, eq=False)
class Bounded:
    """A run within the bound, what was left out for it, how far passes with a budget went, and how far they tried."""

    run: Run
    notes: tuple[str, ...] = ()
    dial: Dial = field(default_factory=Dial)
    trials: Mapping[Dial, Trial] = field(default_factory=dict)


def within_bound(
    attempt: Attempt, choose: Chooser, strain: Callable[[Run], float], name: str, progress: Progress
) -> Bounded:
    """The run with the most approximations whose `strain` is within one; with none of them it is not asked.

    Where all of them miss the bound (called `name`), those that cost most for what they gain are left out first, and
    how many is found by bisection: the error is taken to fall as more are left out.
    """
    whole = attempt(choose)
    costly = sorted(approximations(whole), key=_harm, reverse=True)
    if not costly or strain(whole) <= 1:
        return Bounded(whole)
    misses, holds, best = 0, len(costly), None
    rounds = len(costly).bit_length()
    for done in range(rounds):
        if holds - misses <= 1:
            break
        progress(SEARCH, done, rounds)
        middle = (misses + holds) // 2
        tried = attempt(without(choose, {a.key for a in costly[:middle]}, name))
        if strain(tried) <= 1:
            holds, best = middle, tried
        else:
            misses = middle
    run = best or attempt(without(choose, {a.key for a in costly[:holds]}, name))
    left_out = f"{holds} of {len(costly)} approximations were left out to stay within {name}"
    return Bounded(run, (left_out,))


def approximations(run: Run) -> list[Applied]:
    """What changed weights."""
    return [applied for one in run.passes for applied in one.applied if applied.candidate.error]


def _harm(applied: Applied) -> float:
    """Squared error of the output, or of the weight where nobody knows the output's, for the time's share it saves."""
    candidate, timing = applied.candidate, applied.candidate.timing
    error = candidate.error if candidate.output_error is None else candidate.output_error
    saved = 1 - timing.after_ms / timing.before_ms if timing and timing.before_ms else 1.0
    return error**2 / max(saved, 1e-3)


def without(choose: Chooser, keys: set[str], name: str) -> Chooser:
    """`choose`, but what would change weights at the sites of `keys` is declined."""

    def chosen(one: Pass, context: Context, proposals: Sequence[Proposal]) -> list[Candidate | Declined]:
        allowed = [
            replace(p, candidates=[c for c in p.candidates if not c.error]) if p.site.key in keys else p
            for p in proposals
        ]
        open_ = [p for p in allowed if p.candidates]
        picks = iter(choose(one, context, open_))
        reason = f"left as it is: with it the network would not stay within {name}"
        return [next(picks) if p.candidates else Declined(p.site.name, reason) for p in allowed]

    return chosen
