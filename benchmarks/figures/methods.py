"""Is all of compress worth having? Every method alone and all together, at one agreement, side by side.

Each is optimized for from nothing; then its file runs in turns with the dense network and with what all methods made,
as `onnxcomp bench` runs them: three files, because more of them leave less of each in the caches.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

import onnxcomp
from figures.effort import Request
from figures.figure import Column, Figure, Row
from figures.trained import SHARED, Images
from onnxcomp.bench import ModelBench, bench
from onnxcomp.calibration import Data, open_data
from onnxcomp.inputs import input_specs
from onnxcomp.model import Model
from onnxcomp.report.schema import Report
from onnxcomp.runtime.session import session
from onnxcomp.settings import AUTO_IN_BUDGET
from onnxcomp.workers import processes_here

ALL = "all"
METHODS = (ALL, "prune", "prune-4x1", "prune-16x1", "prune-n:16", "penni", "kronecker", "unify")
REPEATS = 1.05  # by which the speedup of a choice differs from run to run
NEAR = 0.15  # what the report says may be off by so much
COLUMNS = (
    Column("methods", "methods"),
    Column("speedup", "speedup", "x"),
    Column("beside", "all beside", "x"),
    Column("reported", "reported", "x"),
    Column("bytes", "bytes", ".2f"),
    Column("agreement", "agreement", ".1f"),
    Column("seconds", "s", ".0f"),
)
WHAT = (
    "'speedup' is measured in turns with the dense network and with all methods together, whose own is 'all beside'; "
    "'reported' is what the report of that optimization says; "
    "'bytes' is a share of the dense file; 'agreement' is on the inputs that the network was fitted to, which the "
    "budget is about"
)


@dataclass(frozen=True)
class Subject:
    """A trained network of ../shared, and the agreement that it is held to, per cent."""

    name: str
    agreement: float


SUBJECTS = (
    Subject("mlperf_tiny_resnet8_cifar10", 95),
    Subject("resnet20_cifar10_folded", 95),
    Subject("squeezenet1_1_imagenet", 90),
)


def measure(request: Request) -> Iterator[Figure]:
    """A table a network, at the first of the thread counts."""
    for subject in SUBJECTS[:1] if request.effort.quick else SUBJECTS:
        yield _figure(subject, request)


def _figure(subject: Subject, request: Request) -> Figure:
    model = SHARED / "models" / f"{subject.name}.onnx"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = folder / "data.npz"
        np.savez(place, **{session(model).get_inputs()[0].name: Images.of(subject.name).calibration})
        data = open_data(place, input_specs(Model.load(model)))
        methods = METHODS[:2] if request.effort.quick else METHODS
        reports: dict[str, Report] = {}
        seconds: dict[str, float] = {}
        for one in methods:
            start = perf_counter()
            reports[one] = _optimized(model, _file(folder, one), place, subject, request, one)
            seconds[one] = perf_counter() - start
        found = {one: _benched(model, folder, one, data, request) for one in methods}
    rows = [_row(one, reports[one], found[one], seconds[one]) for one in methods]
    title = f"{subject.name} at {subject.agreement:g} % agreement: all methods, and each alone"
    faults = () if request.effort.quick else tuple(faults_of(rows, subject.agreement))
    return Figure(f"methods_{subject.name}", title, COLUMNS, tuple(rows), (WHAT,), faults)


def _file(folder: Path, method: str) -> Path:
    return folder / f"{method.replace(':', '-')}.onnx"


def _optimized(model: Path, target: Path, data: Path, subject: Subject, request: Request, method: str) -> Report:
    passes = AUTO_IN_BUDGET if method == ALL else AUTO_IN_BUDGET.replace("compress", f"compress{{methods={method}}}")
    return onnxcomp.optimize(
        model,
        target,
        passes=passes,
        data=data,
        min_agreement=subject.agreement,
        threads=request.threads[0],
        jobs=processes_here(),
        cache=False,
    ).report


def _benched(model: Path, folder: Path, method: str, data: Data, request: Request) -> Sequence[ModelBench]:
    """The dense network, what all methods make of it, and what `method` does."""
    paths = [model, _file(folder, ALL), _file(folder, method)]
    effort = request.effort
    seconds = len(paths) * effort.seconds
    return bench(paths, data, threads=request.threads[0], seconds=seconds, min_rounds=effort.min_rounds).models


def _row(method: str, report: Report, benched: Sequence[ModelBench], seconds: float) -> Row:
    dense, together, found = benched
    return {
        "methods": method,
        "speedup": found.speedup,
        "beside": together.speedup,
        "reported": report.latency.speedup if report.latency else 1.0,
        "bytes": found.file_bytes / dense.file_bytes,
        "agreement": 100 * min((one["argmax_agreement"] for one in report.verify["outputs"]), default=1.0),
        "seconds": seconds,
    }


def faults_of(rows: Sequence[Row], agreement: float) -> Iterator[str]:
    """Where all together are slower than one alone, a report is far off, or the budget is missed."""
    for row in rows:
        reported, speedup, beside = (float(row[key] or 0) for key in ("reported", "speedup", "beside"))
        if beside * REPEATS < speedup:
            yield f"all methods together give {beside:.2f}x, {row['methods']} alone {speedup:.2f}x"
        if abs(reported / speedup - 1) > NEAR:
            yield f"{row['methods']}: the report says {reported:.2f}x, measured are {speedup:.2f}x"
        if float(row["agreement"] or 0) < agreement:
            yield f"{row['methods']}: an agreement of {row['agreement']} %"
