"""One budget over many layers: a multiple-choice knapsack, solved exactly.

    minimise sum_i loss[i, j(i)]    subject to    sum_i cost[i, j(i)] <= limit,    one j(i) for every layer i

as an integer program (Kellerer, Pferschy, Pisinger, Knapsack Problems, 2004, chapter 11), by branch and cut.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import LinearConstraint, milp

Array = NDArray[np.float64]

MAX_SECONDS = 20.0  # layers by the hundred take well under one; the best found until then is taken
_ROUNDING = 1e-9  # of the largest cost: a sum that differs from the limit by its own rounding is within it


def allocate(costs: Sequence[Array], losses: Sequence[Array], limit: float) -> list[int]:
    """What each layer gets: the index into its `costs` and `losses`, one-dimensional and finite.

    Where no choice is within `limit`, the cheapest. The same arrays give the same answer.
    """
    cheapest = [int(np.lexsort((loss, cost))[0]) for cost, loss in zip(costs, losses, strict=True)]
    best = [int(np.lexsort((cost, loss))[0]) for cost, loss in zip(costs, losses, strict=True)]
    allowed = limit + _ROUNDING * max((float(np.abs(cost).max()) for cost in costs), default=0.0)
    if _total(costs, best) <= allowed:
        return best
    if _total(costs, cheapest) > limit:
        return cheapest
    found = _solved(costs, losses, limit)
    within = found is not None and _total(costs, found) <= allowed
    return found if found is not None and within else cheapest


def _solved(costs: Sequence[Array], losses: Sequence[Array], limit: float) -> list[int] | None:
    """By the solver; None where it ran out of time with nothing found."""
    cost, loss = np.concatenate(costs), np.concatenate(losses)
    owner = np.repeat(np.arange(len(costs)), [len(one) for one in costs])
    scale = max(float(np.abs(cost).max()), np.finfo(float).tiny)
    one_each = LinearConstraint((owner == np.arange(len(costs))[:, None]).astype(float), 1, 1)
    result = milp(
        loss / max(float(np.abs(loss).max()), np.finfo(float).tiny),
        integrality=np.ones(len(cost)),
        bounds=(0, 1),
        constraints=[one_each, LinearConstraint(cost[None] / scale, ub=limit / scale)],
        options={"time_limit": MAX_SECONDS, "mip_rel_gap": 0.0},
    )
    if result.x is None:
        return None
    ends = np.cumsum([len(one) for one in costs])[:-1]
    return [int(np.argmax(part)) for part in np.split(result.x, ends)]


def _total(costs: Sequence[Array], choice: Sequence[int]) -> float:
    return float(sum(cost[index] for cost, index in zip(costs, choice, strict=True)))
