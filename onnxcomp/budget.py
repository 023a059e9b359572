"""Was the budget met? Agreement, accuracy, speed and size, each against what was asked for."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.calibration import Data
from onnxcomp.cost.size import file_bytes
from onnxcomp.errors import DataError, NothingGained
from onnxcomp.runtime.session import run, session
from onnxcomp.settings import Settings
from onnxcomp.user_code import imported, theirs
from onnxcomp.verify import Comparison

Metric = Callable[[dict[str, NDArray[Any]], NDArray[Any] | None], float]
MARGIN = 1.03  # by which repeats of a timing differ
_MISSED = 1.0 + 1e-9  # at least, of a bound


@dataclass(frozen=True)
class Speed:
    """The whole network before and after, milliseconds a call; `speedup` is the median ratio round by round."""

    before_ms: float
    after_ms: float
    speedup: float


@dataclass(frozen=True)
class Held:
    """One thing that was asked for, by the option that asks for it and in its unit, and what was measured."""

    option: str
    asked: float
    measured: float
    used: float | None = None  # the share of what a bound allows; None for targets
    missed: str | None = None  # the sentence that says by how much

    @property
    def met(self) -> bool:
        """Whether the result is within it."""
        return self.missed is None


@dataclass(frozen=True)
class Verdict:
    """Everything that was asked for, and what was measured of it."""

    held: tuple[Held, ...]

    @property
    def missed(self) -> tuple[str, ...]:
        """A sentence for every figure that misses what was asked for."""
        return tuple(one.missed for one in self.held if one.missed)

    @property
    def exit(self) -> int:
        """The exit code: 3 where a budget was missed."""
        return 3 if self.missed else 0


def judge(
    source: Path,
    result: Path,
    verified: Sequence[Comparison],
    speed: Speed | None,
    data: Data,
    settings: Settings,
) -> Verdict:
    """Hold `result` against the budget. NothingGained where a gain was required and there is none."""
    before, after = file_bytes(source), file_bytes(result)
    speedup = speed.speedup if speed else 1.0
    if settings.require_gain and speedup < MARGIN and after >= before:
        raise NothingGained(
            f"{source}: nothing worth doing was found, and --require-gain was given; nothing was written"
        )
    held = [*accuracy(source, result, verified, data, settings).held]
    if settings.target_speedup is not None:
        asked = settings.target_speedup
        short = f"speedup {speedup:.2f}x is below --target-speedup {asked:g}"
        held.append(Held("--target-speedup", asked, speedup, missed=None if speedup >= asked else short))
    wanted = settings.target_bytes(before)
    if wanted is not None:
        long = f"{after} bytes are above --target-size {settings.target_size} ({wanted} bytes)"
        held.append(Held("--target-size", wanted, after, missed=None if after <= wanted else long))
    return Verdict(tuple(held))


@dataclass(frozen=True)
class Accuracy:
    """The bounds on accuracy, and how much of what they allow is used up."""

    held: tuple[Held, ...]
    strain: float  # of the bound that is nearest: one where it is all used up, more where it is missed


def accuracy(source: Path, result: Path, verified: Sequence[Comparison], data: Data, settings: Settings) -> Accuracy:
    """Hold `result`, compared with `source`, against the bounds on accuracy."""
    outputs = [output for comparison in verified for output in comparison.outputs]
    errors = [output.rel_l2 for output in outputs if output.rel_l2 is not None]
    error = math.nan if any(map(math.isnan, errors)) else max(errors, default=0.0)
    used = _used(error, settings.tolerance)
    held = []
    if settings.max_error is not None:
        held.append(Held("--max-error", settings.max_error, error, used))  # missed, a comparison does not pass
    if settings.min_agreement is not None:
        share = min((o.argmax_agreement for o in outputs if o.argmax_agreement is not None), default=1)
        agreement, asked = 100 * share, settings.min_agreement
        short = None if agreement >= asked else f"agreement {agreement:.2f} % is below --min-agreement {asked:g}"
        held.append(Held("--min-agreement", asked, agreement, _used(1 - share, 1 - asked / 100), short))
    if settings.max_drop is not None:
        metric = _metric(settings, data)
        was = _score(source, data, metric, settings.threads)
        drop, asked = (
            was - (was if result == source else _score(result, data, metric, settings.threads)),
            settings.max_drop,
        )
        long = None if drop <= asked else f"a drop of {drop:.2f} points is above --max-drop {asked:g}"
        held.append(Held("--max-drop", asked, drop, _used(drop, asked), long))
    shares = [used, *(one.used for one in held if one.used is not None)]
    whole = max(math.inf if math.isnan(one) else one for one in shares)
    holds = all(one.met for one in held) and all(comparison.passed for comparison in verified)
    return Accuracy(tuple(held), min(whole, 1.0) if holds else max(whole, _MISSED))


def _used(loss: float, allowed: float) -> float:
    """The share of what is allowed."""
    return loss / allowed if allowed > 0 else math.inf if loss > 0 else 0.0


def _metric(settings: Settings, data: Data) -> Metric:
    """`--metric`, or top-1 accuracy where the data has labels."""
    if settings.metric is None:
        if data.labels is None:
            raise DataError(
                f"--max-drop needs labels or --metric, and {data.source.name} has no labels; "
                "without them give --min-agreement"
            )
        return _top1
    if callable(settings.metric):
        return settings.metric
    named = f"--metric {settings.metric}"
    function = imported(settings.metric, named)

    def called(outputs: dict[str, NDArray[Any]], labels: NDArray[Any] | None) -> float:
        with theirs(named):
            return float(function(outputs, labels))

    return called


def _top1(outputs: dict[str, NDArray[Any]], labels: NDArray[Any] | None) -> float:
    """Per cent of samples whose largest entry of the first output is the label."""
    scores = next(iter(outputs.values()))
    return float(100 * np.mean(scores.reshape(len(scores), -1).argmax(axis=1) == labels))


def _score(path: Path, data: Data, metric: Metric, threads: int | None) -> float:
    loaded = session(path, threads)
    names = [output.name for output in loaded.get_outputs()]
    batches = [run(loaded, feed, str(path)) for feed in data.batches()]
    outputs = {name: np.concatenate([batch[i] for batch in batches]) for i, name in enumerate(names)}
    return float(metric(outputs, data.labels))
