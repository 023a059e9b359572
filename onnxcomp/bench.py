"""Models measured against the first of them, taking turns: time, load time, memory, size, and whether they agree."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime as ort
from numpy.typing import NDArray

from onnxcomp.calibration import Data
from onnxcomp.cost.host import Host, host
from onnxcomp.cost.measure import bound
from onnxcomp.cost.memory import peak_rss_bytes
from onnxcomp.cost.size import file_bytes
from onnxcomp.cost.turns import Times, take_turns
from onnxcomp.errors import UsageError
from onnxcomp.runtime.session import Feed, default_threads, run, session
from onnxcomp.verify import Tolerance
from onnxcomp.verify.output import OutputErrors

SCHEMA = 1


@dataclass(frozen=True)
class ModelBench:
    """One model. Times in milliseconds; `speedup` and `rel_l2` against the first model.

    `load_ms`: the faster of two session creations, file cache warm. `rss_bytes`: peak of a fresh process that loads
    and runs it once, Python and ONNX Runtime included. `rel_l2`: the largest relative L2 error of an output, None
    where outputs cannot be compared. `note`: what is wrong with the answers, where they differ.
    """

    path: str
    median_ms: float
    p95_ms: float
    speedup: float
    load_ms: float
    rss_bytes: int
    file_bytes: int
    rel_l2: float | None
    note: str | None


class _Answer(NamedTuple):
    """`ModelBench.rel_l2` and `ModelBench.note`."""

    rel_l2: float | None
    note: str | None


@dataclass(frozen=True)
class BenchResult:
    """All models on one feed of `batch` samples with `threads`."""

    host: Host
    batch: int
    threads: int
    library: bool
    rounds: int
    models: tuple[ModelBench, ...]

    def to_json(self) -> dict[str, Any]:
        """The object that `bench --json` writes."""
        return {
            "schema": SCHEMA,
            **asdict(self),
            "host": self.host.to_json(),
            "models": [asdict(m) for m in self.models],
        }


def bench(
    paths: Sequence[str | Path],
    data: Data,
    *,
    batch: int = 1,
    threads: int | None = None,
    seconds: float = 5.0,
    min_rounds: int = 10,
    max_rounds: int | None = None,
    max_error: float = 1e-3,
    library: bool = True,
    progress: Callable[[str], None] | None = None,
) -> BenchResult:
    """Measure `paths` on the first batch of `data`, for about `seconds` of turns and at least `min_rounds` rounds.

    `max_error` is the relative L2 error above which answers are said to differ. `progress` is told what is being done.
    Raises UsageError without models, ModelError for one that cannot be loaded or run on the data.
    """
    if not paths:
        raise UsageError("nothing to measure; give at least one model")
    tell = progress or (lambda _: None)
    used = threads or default_threads()
    feed = next(data.batches(batch))
    tell("loading")
    loads = [_load(path, used, library) for path in paths]
    sessions = [loaded for loaded, _ in loads]
    calls = [bound(loaded, feed, str(path)) for loaded, path in zip(sessions, paths, strict=True)]
    tell("timing")
    times = take_turns(calls, seconds, min_rounds, max_rounds)
    tell("comparing answers")
    answers = _compare_answers(sessions, paths, feed, Tolerance(max_error))
    tell("measuring memory")
    models = tuple(
        _summary(path, measured, times[0], load_ms, peak_rss_bytes(path, _own(loaded, feed), used, library), answer)
        for path, measured, (loaded, load_ms), answer in zip(paths, times, loads, answers, strict=True)
    )
    samples = len(next(iter(feed.values())))
    return BenchResult(host(used), samples, used, library, len(times[0].rounds), models)


def _load(path: str | Path, threads: int, library: bool) -> tuple[ort.InferenceSession, float]:
    """A session, and the milliseconds of its faster creation out of two: the first fills the file cache."""
    fastest = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        loaded = session(path, threads, library, alone=False)
        fastest = min(fastest, (time.perf_counter() - start) * 1e3)
    return loaded, fastest


def _own(session: ort.InferenceSession, feed: Feed) -> dict[str, NDArray[Any]]:
    return {node.name: feed[node.name] for node in session.get_inputs()}


def _compare_answers(
    sessions: Sequence[ort.InferenceSession], paths: Sequence[str | Path], feed: Feed, tolerance: Tolerance
) -> list[_Answer]:
    """Every model's answer against the first one's. Outputs are matched by position."""
    expected = run(sessions[0], _own(sessions[0], feed), str(paths[0]))
    answers = []
    for loaded, path in zip(sessions, paths, strict=True):
        names = [node.name for node in loaded.get_outputs()]
        answers.append(_answer(names, expected, run(loaded, _own(loaded, feed), str(path)), tolerance))
    return answers


def _answer(names: Sequence[str], expected: Sequence[Any], found: Sequence[Any], tolerance: Tolerance) -> _Answer:
    if len(found) != len(expected):
        return _Answer(None, f"{len(found)} outputs, the first model has {len(expected)}")
    outputs = [OutputErrors(name, tolerance) for name in names]
    for output, x, y in zip(outputs, expected, found, strict=True):
        output.add(x, y)
    results = [output.result() for output in outputs]
    errors = [result.rel_l2 for result in results]
    known = [error for error in errors if error is not None]
    fault = next((f"output '{result.name}': {result.reason}" for result in results if not result.passed), None)
    return _Answer(max(known) if known and len(known) == len(errors) else None, fault)


def _summary(
    path: str | Path,
    times: Times,
    base: Times,
    load_ms: float,
    rss_bytes: int,
    answer: _Answer,
) -> ModelBench:
    return ModelBench(
        path=str(path),
        median_ms=times.median_ms,
        p95_ms=times.p95_ms,
        speedup=times.speedup(base),
        load_ms=load_ms,
        rss_bytes=rss_bytes,
        file_bytes=file_bytes(path),
        rel_l2=answer.rel_l2,
        note=answer.note,
    )
