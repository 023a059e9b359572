"""What a budget buys: trained networks of ../shared, compressed on unlabelled data, scored on labelled.

Multiply-adds cut by zeros alone, the largest weights kept and chosen by compress; all methods at once for speed; and
ONNX Runtime's own int8 beside them.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onnxcomp
from figures.effort import Request
from figures.figure import Axes, Column, Figure, Row
from figures.trained import SHARED, Images
from onnxcomp.cost.measure import bound
from onnxcomp.cost.size import file_bytes
from onnxcomp.cost.turns import take_turns
from onnxcomp.quantized import CALIBRATION_SAMPLES, quantize
from onnxcomp.runtime.session import session
from onnxcomp.workers import processes_here

COLUMNS = (
    Column("kind", "by"),
    Column("budget", "budget"),
    Column("macs", "MACs", ".2f"),
    Column("bytes", "bytes", ".2f"),
    Column("speedup", "speedup", "x"),
    Column("agreement", "agreement", ".1f"),
    Column("lost", "points lost", ".1f"),
    Column("lost_clean", "clean", ".1f"),
    Column("seconds", "s", ".0f"),
)
WHAT = (
    "'MACs' and 'bytes' are shares of the dense network's and of its file. Magnitude: the same share of each layer's "
    "weights, the smallest, becomes zero, outputs' means kept; zeros: prune alone, chosen by compress; all: every "
    "method, for time, as far as so many per cent of the inputs it is fitted to keep their class; int8: ONNX Runtime's "
    "static quantisation. Agreement is on inputs that nothing was fitted to"
)
AXES = Axes(
    (("bytes", "share of the bytes"), ("speedup", "times as fast")),
    ("lost", "points of top-1 lost"),
    "kind",
    "budget",
    all_named=True,
)
ZEROS = "sparse-conv{{when=always,min_zeros=0}},sparse-gemm{{when=always,min_zeros=0}}"
MAGNITUDE = f"fold-batchnorm,prune{{{{sparsity={{sparsity}},solver=magnitude,sequential=false}}}},{ZEROS}"
CHOSEN = f"fold-batchnorm,compress{{{{macs={{share}},methods={{methods}}}}}},{ZEROS}"


@dataclass(frozen=True)
class Subject:
    """A trained network of ../shared: how many times fewer multiply-adds, in which pattern of zeros; agreements."""

    name: str
    cuts: tuple[tuple[float, str], ...]
    agreements: tuple[float, ...]


SUBJECTS = (
    Subject(
        "resnet20_cifar10_folded",
        ((3, "prune"), (4, "prune"), (1.5, "prune-4x1"), (2.4, "prune-n:16")),
        (95, 90),
    ),
    Subject("resnet32_cifar10", ((3, "prune"),), (95,)),
    Subject("mlperf_tiny_resnet8_cifar10", ((2, "prune"),), (95,)),
    Subject("squeezenet1_1_imagenet", ((1.5, "prune"), (2, "prune")), (90,)),
)


def measure(request: Request) -> Iterator[Figure]:
    """A table a network, at the first of the thread counts."""
    for subject in SUBJECTS[:1] if request.effort.quick else SUBJECTS:
        yield _figure(subject, request)


def _figure(subject: Subject, request: Request) -> Figure:
    model = SHARED / "models" / f"{subject.name}.onnx"
    images = Images.of(subject.name)
    before = images.score(model)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(model, images, before, Path(folder), request.threads[0])
        for times, methods in subject.cuts if not request.effort.quick else ():
            budget = f"MACs / {times:g}{methods.removeprefix('prune').replace('-', ', ')}"
            if methods == "prune":
                rows.append(bench.row("magnitude", budget, passes=MAGNITUDE.format(sparsity=round(1 - 1 / times, 4))))
            rows.append(bench.row("zeros", budget, passes=CHOSEN.format(share=round(1 / times, 4), methods=methods)))
        for agreement in subject.agreements if not request.effort.quick else (50,):
            rows.append(bench.row("all", f"agreement {agreement:g} %", min_agreement=agreement, goal="latency"))
        rows.append(bench.int8())
    notes = (f"dense: {images.words(before)}; fitted to {len(images.calibration)} others", WHAT)
    title = f"compression of {subject.name}, no training"
    return Figure(f"compression_{subject.name}", title, COLUMNS, tuple(rows), notes, axes=AXES)


@dataclass(frozen=True, eq=False)
class _Bench:
    """A network, what it is fitted to and scored on, and a place for what is made of it."""

    model: Path
    images: Images
    before: dict[str, NDArray[Any]]
    folder: Path
    threads: int

    def row(self, kind: str, budget: str, **options: Any) -> Row:
        """What `optimize` makes of it."""
        data, target = self.folder / "data.npz", self.folder / "out.onnx"
        np.savez(data, **{session(self.model).get_inputs()[0].name: self.images.calibration})
        start = perf_counter()
        given = {"min_agreement": 0.0, "goal": "size"} | options
        report = onnxcomp.optimize(
            self.model, target, data=data, threads=self.threads, jobs=processes_here(), cache=False, **given
        ).report
        seconds = perf_counter() - start
        return {
            "kind": kind,
            "budget": budget,
            "macs": (report.output.macs or 0) / (report.input.macs or 1),
            "seconds": seconds,
            **self._measured(target),
        }

    def int8(self) -> Row:
        """What ONNX Runtime's quantiser makes of it."""
        feeds = [{session(self.model).get_inputs()[0].name: x[None]} for x in self.images.calibration]
        found = quantize(self.model, islice(feeds, CALIBRATION_SAMPLES), self.folder)
        return {"kind": "int8", "budget": "int8", "macs": None, "seconds": None, **self._measured(found)}

    def _measured(self, path: Path) -> Row:
        feed = {session(self.model).get_inputs()[0].name: self.images.calibration[:1]}
        sessions = [session(one, self.threads, alone=False) for one in (self.model, path)]
        dense, other = take_turns([bound(one, feed) for one in sessions], seconds=2.0, min_rounds=20)
        return {
            "bytes": file_bytes(path) / file_bytes(self.model),
            "speedup": other.speedup(dense),
            **self.images.compared(self.before, self.images.score(path)),
        }
