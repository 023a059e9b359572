"""One budget over many layers: a multiple-choice knapsack, solved exactly.

    minimise sum_i loss[i, j(i)]    subject to    sum_i cost[i, j(i)] + joint(j) <= limit,    one j(i) for every layer i

as an integer program (Kellerer, Pferschy, Pisinger, Knapsack Problems, 2004, chapter 11), by branch and cut. `joint` is
what choices cost together: each puts its layer on one of two sides, and what is parted is charged for, as in a cut:

    joint(j) = min over y of sum_(a, b) w_ab max(0, y_b - y_a) - the same of j = 0,    y of layer i given by j(i)
"""

import ctypes
import os
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, milp
from scipy.sparse import coo_array

from onnxcomp.numerics.cut import Cut

Array = NDArray[np.float64]

MAX_SECONDS = 20.0  # layers by the hundred take well under one; the best found until then is taken
_ROUNDING = 1e-9  # of the largest cost: a sum that differs from the limit by its own rounding is within it
_STDOUT = Lock()  # the process has one
_NEARLY = 1e-3  # of the limit: as exact as a cut is, whose costs become whole numbers


@dataclass(frozen=True, eq=False)
class Joint:
    """What choices of several layers cost together."""

    cut: Cut  # of all things but the layers' own costs
    names: Sequence[Hashable | None]  # of the layers in it; None for one that takes no part
    sides: Sequence[NDArray[np.bool_]]  # of each layer's choices, whether they put it on the side of the sink

    def cost(self, choice: Sequence[int]) -> float:
        """Of these choices, beyond what those of index 0 cost."""
        return self.whole(choice) - self.whole([0] * len(choice))

    def whole(self, choice: Sequence[int]) -> float:
        """Of these choices."""
        cut = self.cut.copy()
        for name, sides, index in zip(self.names, self.sides, choice, strict=True):
            if name is not None:
                parted = (Cut.SOURCE, name) if not sides[index] else (name, Cut.SINK)
                cut.add(parted[0], parted[1], inf)
        return cut.cost(cut.on_sinks_side())


def allocate(costs: Sequence[Array], losses: Sequence[Array], limit: float, joint: Joint | None = None) -> list[int]:
    """What each layer gets: the index into its `costs` and `losses`, one-dimensional and finite.

    Where no choice is within `limit`, the cheapest. The same arrays give the same answer.
    """
    best = [int(np.lexsort((cost, loss))[0]) for cost, loss in zip(costs, losses, strict=True)]
    allowed = limit + _ROUNDING * max((float(np.abs(cost).max()) for cost in costs), default=0.0)
    if total(costs, best, joint) <= allowed:
        return best
    least = cheapest(costs, losses, joint)
    if total(costs, least, joint) > limit:
        return least
    found = _solved(costs, losses, limit, joint)
    within = found is not None and total(costs, found, joint) <= allowed * (1 + _NEARLY if joint else 1)
    return found if found is not None and within else least


def cheapest(costs: Sequence[Array], losses: Sequence[Array], joint: Joint | None = None) -> list[int]:
    """What costs least of all, and of several such what loses least."""
    alone = [int(np.lexsort((loss, cost))[0]) for cost, loss in zip(costs, losses, strict=True)]
    if joint is None or not costs:
        return alone
    found = _solved(costs, costs, inf, joint, joint_in_objective=True)
    return min((one for one in (found, alone) if one is not None), key=lambda one: total(costs, one, joint))


def total(costs: Sequence[Array], choice: Sequence[int], joint: Joint | None = None) -> float:
    """What a choice costs."""
    alone = float(sum(cost[index] for cost, index in zip(costs, choice, strict=True)))
    return alone + joint.cost(choice) if joint else alone


def _solved(
    costs: Sequence[Array],
    losses: Sequence[Array],
    limit: float,
    joint: Joint | None,
    *,
    joint_in_objective: bool = False,
) -> list[int] | None:
    """By the solver; None where it ran out of time with nothing found.

    Unknowns: whether each choice is made; the side of each thing of the cut that is no layer; what each of its pairs
    is charged.
    """
    cost, loss = np.concatenate(costs), np.concatenate(losses)
    owner = np.repeat(np.arange(len(costs)), [len(one) for one in costs])
    rows, weights, sides = _parted(joint, costs) if joint else (None, np.zeros(0), 0)
    charged = np.concatenate([cost, np.zeros(sides), weights])
    width = len(charged)
    scale = max(float(np.abs(charged).max()), np.finfo(float).tiny)
    one_each = coo_array((np.ones(len(cost)), (owner, np.arange(len(cost)))), shape=(len(costs), width))
    constraints = [LinearConstraint(one_each, 1, 1)]
    if isfinite(limit):
        at_first = joint.whole([0] * len(costs)) if joint else 0.0
        constraints.append(LinearConstraint(charged[None] / scale, ub=(limit + at_first) / scale))
    if rows is not None:
        constraints.append(rows)
    wanted = charged if joint_in_objective else np.concatenate([loss, np.zeros(width - len(loss))])
    with _silenced_stdout():
        result = milp(
            wanted / max(float(np.abs(wanted).max()), np.finfo(float).tiny),
            integrality=np.concatenate([np.ones(len(cost)), np.zeros(width - len(cost))]),
            bounds=(0, 1),
            constraints=constraints,
            options={"time_limit": MAX_SECONDS, "mip_rel_gap": 0.0},
        )
    if result.x is None:
        return None
    ends = np.cumsum([len(one) for one in costs])[:-1]
    return [int(np.argmax(part)) for part in np.split(result.x[: len(cost)], ends)]


@contextmanager
def _silenced_stdout() -> Iterator[None]:
    """HiGHS, as SciPy brings it, prints a line of its own debugging now and then, past Python and every option."""
    flush = ctypes.CDLL(None).fflush  # what C holds back belongs to whoever wrote it
    with _STDOUT:
        try:
            kept = os.dup(1)
        except OSError:  # there is no stdout to write to
            yield
            return
        try:
            flush(None)
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), 1)
            yield
        finally:
            flush(None)
            os.dup2(kept, 1)
            os.close(kept)


def _parted(joint: Joint, costs: Sequence[Array]) -> tuple[LinearConstraint, Array, int]:
    """Rows w >= y_b - y_a for every pair of the cut, w 0 where it may never be parted; weights; how many y."""
    *starts, choices = np.cumsum([0, *(len(one) for one in costs)]).tolist()
    members = {
        name: [start + int(k) for k in np.flatnonzero(sides)]
        for name, start, sides in zip(joint.names, starts, joint.sides, strict=True)
        if name is not None
    }
    pairs = list(joint.cut.costs.items())
    fixed = {*members, Cut.SOURCE, Cut.SINK}
    free = [thing for thing in dict.fromkeys(thing for pair, _ in pairs for thing in pair) if thing not in fixed]
    place = {thing: choices + i for i, thing in enumerate(free)}
    weights = np.array([ms for _, ms in pairs if isfinite(ms)])
    entries: list[tuple[int, int, float]] = []
    least = np.zeros(len(pairs))
    charged = choices + len(place)
    for row, ((a, b), ms) in enumerate(pairs):
        for thing, sign in ((a, 1.0), (b, -1.0)):  # y_a - y_b (+ w) >= 0
            if thing == Cut.SINK:
                least[row] -= sign
            for column in members.get(thing, [place[thing]] if thing in place else []):
                entries.append((row, column, sign))
        if isfinite(ms):
            entries.append((row, charged, 1.0))
            charged += 1
    at = np.array([(row, column) for row, column, _ in entries], np.int64).reshape(-1, 2)
    matrix = coo_array(([value for *_, value in entries], (at[:, 0], at[:, 1])), shape=(len(pairs), charged))
    return LinearConstraint(matrix.tocsr(), lb=least), weights, len(place)
