"""Models measured against the first of them, taking turns: time, load time, memory, size, and whether they agree."""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime as ort
from numpy.typing import NDArray

from onnxcomp.calibration import Data
from onnxcomp.cost.host import Host, host
from onnxcomp.cost.layer_times import LayerTimes, layer_times
from onnxcomp.cost.measure import bound
from onnxcomp.cost.memory import peak_rss_bytes
from onnxcomp.cost.size import file_bytes
from onnxcomp.cost.turns import Times, take_turns
from onnxcomp.errors import UsageError
from onnxcomp.quantized import CALIBRATION_SAMPLES, quantize
from onnxcomp.runtime.session import Feed, default_threads, run, session
from onnxcomp.verify import Tolerance
from onnxcomp.verify.output import OutputErrors

SCHEMA = 1


@dataclass(frozen=True)
class ModelBench:
    """One model. Times in milliseconds; `speedup`, `rel_l2` and `argmax_agreement` against the first model.

    `load_ms`: the faster of two session creations, file cache warm. `rss_bytes`: peak of a fresh process that loads
    and runs it once, Python and ONNX Runtime included. `rel_l2`: the largest relative L2 error of an output, None
    where outputs cannot be compared. `argmax_agreement`: the smallest share (0 to 1) of samples on which an output's
    argmax is the same, None where no output has classes. `note`: what is wrong with the answers, where they differ.
    `int8`: this is the first model quantised, whose error is told and not held against it; `path` is the first's.
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
    argmax_agreement: float | None = None
    int8: bool = False


class _Entry(NamedTuple):
    """A model that takes part: the file measured, and the path it is known by."""

    file: Path
    path: str
    int8: bool = False


class _Answer(NamedTuple):
    """`ModelBench.rel_l2`, `argmax_agreement` and `note`."""

    rel_l2: float | None
    argmax_agreement: float | None
    note: str | None


@dataclass(frozen=True)
class BenchResult:
    """All models on one feed of `batch` samples with `threads`; answers compared on `compared` samples."""

    host: Host
    batch: int
    threads: int
    library: bool
    rounds: int
    models: tuple[ModelBench, ...]
    compared: int
    layers: LayerTimes | None = None

    def to_json(self) -> dict[str, Any]:
        """The object that `bench --json` writes."""
        return {
            "schema": SCHEMA,
            **asdict(self),
            "host": self.host.to_json(),
            "models": [asdict(m) for m in self.models],
            "layers": self.layers.to_json() if self.layers else None,
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
    int8: bool = False,
    layers: bool = False,
    progress: Callable[[str], None] | None = None,
) -> BenchResult:
    """Measure `paths` on the first batch of `data`, for about `seconds` of turns and at least `min_rounds` rounds.

    `max_error` is the relative L2 error above which answers are said to differ. `int8` adds the first model quantised
    by ONNX Runtime, and then answers are compared on the samples that it was calibrated on, the first 16. `layers`
    measures once more, as long, under ONNX Runtime's profiler. `progress` is told what is being done.
    Raises UsageError without models, ModelError for one that cannot be loaded, run on the data or quantised.
    """
    if not paths:
        raise UsageError("nothing to measure; give at least one model")
    tell = progress or (lambda _: None)
    used = threads or default_threads()
    feed = next(data.batches(batch))
    feeds = list(islice(data.batches(1), CALIBRATION_SAMPLES)) if int8 else [feed]
    entries = [_Entry(Path(path), str(path)) for path in paths]
    with tempfile.TemporaryDirectory(prefix="onnxcomp-") as folder:
        if int8:
            tell("quantising")
            entries.append(_Entry(quantize(paths[0], feeds, Path(folder)), str(paths[0]), int8=True))
        tell("loading")
        loads = [_load(entry.file, used, library) for entry in entries]
        sessions = [loaded for loaded, _ in loads]
        calls = [bound(loaded, feed, entry.path) for loaded, entry in zip(sessions, entries, strict=True)]
        tell("timing")
        times = take_turns(calls, seconds, min_rounds, max_rounds)
        tell("comparing answers")
        answers = _compare_answers(sessions, entries, feeds, max_error)
        tell("measuring memory")
        models = tuple(
            _summary(entry, taken, times[0], load_ms, peak_rss_bytes(entry.file, _own(loaded, feed), used, library), a)
            for entry, taken, (loaded, load_ms), a in zip(entries, times, loads, answers, strict=True)
        )
        by_layer = None
        if layers:
            tell("timing layers")
            files = [entry.file for entry in entries]
            by_layer = layer_times(files, feed, used, seconds=seconds, min_rounds=min_rounds, library=library)
    rounds, compared = len(times[0].rounds), sum(map(_samples, feeds))
    return BenchResult(host(used), _samples(feed), used, library, rounds, models, compared, by_layer)


def _samples(feed: Feed) -> int:
    return len(next(iter(feed.values())))


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
    sessions: Sequence[ort.InferenceSession], entries: Sequence[_Entry], feeds: Sequence[Feed], max_error: float
) -> list[_Answer]:
    """Every model's answers against the first one's. Outputs are matched by position."""
    first = sessions[0]
    expected = [run(first, _own(first, feed), entries[0].path) for feed in feeds]
    answers = []
    for loaded, entry in zip(sessions, entries, strict=True):
        names = [node.name for node in loaded.get_outputs()]
        found = [run(loaded, _own(loaded, feed), entry.path) for feed in feeds]
        answers.append(_answer(names, expected, found, Tolerance(math.inf if entry.int8 else max_error)))
    return answers


def _answer(
    names: Sequence[str], expected: Sequence[list[Any]], found: Sequence[list[Any]], tolerance: Tolerance
) -> _Answer:
    if len(found[0]) != len(expected[0]):
        return _Answer(None, None, f"{len(found[0])} outputs, the first model has {len(expected[0])}")
    outputs = [OutputErrors(name, tolerance) for name in names]
    for ours, theirs in zip(expected, found, strict=True):
        for output, x, y in zip(outputs, ours, theirs, strict=True):
            output.add(x, y)
    results = [output.result() for output in outputs]
    errors = [result.rel_l2 for result in results]
    known = [error for error in errors if error is not None]
    agreements = [result.argmax_agreement for result in results if result.argmax_agreement is not None]
    fault = next((f"output '{result.name}': {result.reason}" for result in results if not result.passed), None)
    error = max(known) if known and len(known) == len(errors) else None
    return _Answer(error, min(agreements, default=None), fault)


def _summary(entry: _Entry, times: Times, base: Times, load_ms: float, rss_bytes: int, answer: _Answer) -> ModelBench:
    return ModelBench(
        path=entry.path,
        median_ms=times.median_ms,
        p95_ms=times.p95_ms,
        speedup=times.speedup(base),
        load_ms=load_ms,
        rss_bytes=rss_bytes,
        file_bytes=file_bytes(entry.file),
        rel_l2=answer.rel_l2,
        note=answer.note,
        argmax_agreement=answer.argmax_agreement,
        int8=entry.int8,
    )
