"""What lies between strengths that were measured: times, errors and losses of one method on one layer.

Curves are not extended: beyond what was measured an error is not known, and times and changes stay what they were last.
"""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

from onnxcomp.context import Timing

_LEAST = 1e-30  # stands for zero, which has no logarithm


def time_at(macs: float, line: Sequence[tuple[float, Timing]]) -> Timing | None:
    """The time of so many multiply-adds: of the dense layer's, nearly a straight line between two that were measured.

    None where `line` is empty; at its ends beyond them.
    """
    if not line:
        return None
    at, times = zip(*sorted(line, key=lambda point: point[0]), strict=True)
    dense = float(np.median([time.before_ms for time in times]))
    shares = [time.after_ms / time.before_ms if time.before_ms else 1.0 for time in times]
    return Timing(dense, dense * float(np.interp(macs, at, shares)))


def error_at(zeros: float, line: Sequence[tuple[float, float]]) -> float | None:
    """The error of a layer with such a share of zeros: about a power of it, a smooth curve that only rises.

    `line` holds shares, with the error of each. None beyond them.
    """
    errors = dict(sorted(line))
    at = list(errors)
    if not at or not at[0] <= zeros <= at[-1]:
        return None
    if len(at) == 1:
        return errors[at[0]]
    logs = np.log(np.maximum(list(errors.values()), _LEAST))
    return float(np.exp(PchipInterpolator(np.log(at), logs)(np.log(zeros))))


def change_at(error: float, line: Sequence[tuple[float, float]]) -> float:
    """What the network's outputs change where the layer has that error: a power of it between two that were measured.

    `line` holds errors, with the change of each; at its ends beyond them, but infinite beyond the last finite change.
    """
    finite = sorted((at, change) for at, change in line if np.isfinite(change))
    if not finite or (error > finite[-1][0] and len(finite) < len(line)):
        return float("inf")
    logs = np.log(np.maximum(finite, _LEAST))
    return float(np.exp(np.interp(np.log(max(error, _LEAST)), logs[:, 0], logs[:, 1])))


def spread(errors: Sequence[float], least: float, most: float, count: int) -> list[float]:
    """Up to `count` of `errors` to measure at: around all from `least` to `most`, evenly by their logarithms."""
    rising = np.sort(np.asarray(errors, np.float64))
    low = max(int(np.searchsorted(rising, least, side="right")) - 1, 0)
    high = min(int(np.searchsorted(rising, most, side="left")), len(rising) - 1)
    logs = np.log(np.maximum(rising, _LEAST))
    near = (int(np.abs(logs - one).argmin()) for one in np.linspace(logs[low], logs[high], count)[1:-1])
    return [float(rising[index]) for index in sorted({low, high, *near})]
