"""Was the budget met? Agreement, accuracy, speed and size, each against what was asked for."""

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.calibration import Data
from onnxcomp.cost.size import file_bytes
from onnxcomp.errors import DataError, NothingGained, UsageError
from onnxcomp.runtime.session import run, session
from onnxcomp.settings import Settings
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
class Verdict:
    """What was measured against the budget, and a sentence for every figure that misses it."""

    missed: tuple[str, ...]
    drop: float | None  # points of the metric lost, where one was asked for

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
    found = accuracy(source, result, verified, data, settings)
    missed = [*found.missed]
    if settings.target_speedup is not None and speedup < settings.target_speedup:
        missed.append(f"speedup {speedup:.2f}x is below --target-speedup {settings.target_speedup:g}")
    wanted = settings.target_bytes(before)
    if wanted is not None and after > wanted:
        missed.append(f"{after} bytes are above --target-size {settings.target_size} ({wanted} bytes)")
    return Verdict(tuple(missed), found.drop)


@dataclass(frozen=True)
class Accuracy:
    """A sentence for each bound on accuracy that is missed, how much of what they allow is used up, points lost."""

    missed: tuple[str, ...]
    strain: float  # of the bound that is nearest: one where it is all used up, more where it is missed
    drop: float | None


def accuracy(source: Path, result: Path, verified: Sequence[Comparison], data: Data, settings: Settings) -> Accuracy:
    """Hold `result`, compared with `source`, against the bounds on accuracy."""
    outputs = [output for comparison in verified for output in comparison.outputs]
    used = [_used(output.rel_l2, settings.tolerance) for output in outputs if output.rel_l2 is not None]
    missed = []
    agreement = min((o.argmax_agreement for o in outputs if o.argmax_agreement is not None), default=1)
    if settings.min_agreement is not None:
        used.append(_used(1 - agreement, 1 - settings.min_agreement / 100))
        if 100 * agreement < settings.min_agreement:
            missed.append(f"agreement {100 * agreement:.2f} % is below --min-agreement {settings.min_agreement:g}")
    drop = None
    if settings.max_drop is not None:
        metric = _metric(settings, data)
        was = _score(source, data, metric, settings.threads)
        drop = was - (was if result == source else _score(result, data, metric, settings.threads))
        used.append(_used(drop, settings.max_drop))
        if drop > settings.max_drop:
            missed.append(f"a drop of {drop:.2f} points is above --max-drop {settings.max_drop:g}")
    whole = max((math.inf if math.isnan(one) else one for one in used), default=0.0)
    holds = not missed and all(comparison.passed for comparison in verified)
    return Accuracy(tuple(missed), min(whole, 1.0) if holds else max(whole, _MISSED), drop)


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
    module, colon, name = settings.metric.partition(":")
    try:
        found = getattr(importlib.import_module(module), name) if colon else None
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--metric {settings.metric}: {error}") from error
    if not callable(found):
        raise UsageError(f"--metric {settings.metric}: give module:function, a function of (outputs, labels)")
    return found  # type: ignore[no-any-return]


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
