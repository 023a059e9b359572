"""What candidates cost and lose, for a choice between them."""

from collections.abc import Sequence
from math import inf, isfinite
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onnxcomp.pass_api import Candidate, Dial, Proposal

Unit = Literal["ms", "bytes", "macs"]
UNITS: tuple[Unit, ...] = ("ms", "bytes", "macs")
_Array = NDArray[np.float64]
_WORST = 1e6


def ratio(one: Candidate, unit: Unit) -> float:
    """What it takes of the dense layer's cost; one where that is not known."""
    before, after = _cost(one, unit)
    return after / before if before else 1.0


def _cost(one: Candidate, unit: Unit) -> tuple[float, float]:
    """Before and after."""
    if unit == "bytes":
        return one.size_bytes
    if unit == "macs":
        return one.macs or (0, 0)
    return (one.timing.before_ms, one.timing.after_ms) if one.timing else (0.0, 0.0)


def unbeaten(candidates: Sequence[Candidate], unit: Unit) -> list[Candidate]:
    """Those that no other both costs less than and is nearer to the layer's output, the dearest first."""
    best, kept = inf, []
    for one in sorted(candidates, key=lambda one: (ratio(one, unit), one.output_error)):
        error = one.output_error
        if error is not None and isfinite(error) and error < best:
            best = error
            kept.append(one)
    return kept[::-1]


def costs_of(proposal: Proposal, unit: Unit) -> _Array:
    """Of the dense layer, then of the candidates. Times of the dense layer, taken beside each of these, differ."""
    dense = float(np.median([_cost(one, unit)[0] for one in proposal.candidates]))
    return dense * np.array([1.0, *(ratio(one, unit) for one in proposal.candidates)])


def loss_of(one: Candidate, dial: Dial) -> float:
    """Of second order, either way. What cannot be told, or makes outputs no numbers, is as bad as can be."""
    found = one.network_change if dial.loss == "network" else (one.output_error or 0.0) ** 2
    return min(found, _WORST) if found is not None and isfinite(found) else _WORST
