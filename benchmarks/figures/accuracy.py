"""What approximations cost in accuracy: trained networks of ../shared, fitted to unlabelled data, scored on labelled.

Every way to find the factors at every size: of the weights alone, on the data of one layer, on that of the network.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import onnxcomp
from figures.effort import Request
from figures.figure import Axes, Column, Figure, Row
from figures.trained import SHARED, Images
from onnxcomp.runtime.session import session

COLUMNS = (
    Column("method", "method"),
    Column("fit", "fitted to"),
    Column("parameters", "parameters", ".2f"),
    Column("macs", "MACs", ".2f"),
    Column("speedup", "speedup", "x"),
    Column("agreement", "agreement", ".1f"),
    Column("lost", "points lost", ".1f"),
    Column("lost_clean", "clean", ".1f"),
)
WHAT = (
    "'parameters' and 'MACs' are shares of the dense network's. Fitted to: weights, the SVD of each, or its largest "
    "numbers; + bias, the same, with the outputs' means kept; + statistics, their standard deviations too, one layer "
    "after the other; whitened, the SVD in the norm of the layer's input; layers, alternating least squares or ADMM in "
    "that norm; network, the same on what the data becomes in the layers before, towards the dense outputs"
)
AXES = Axes(
    (
        ("parameters", "share of the parameters"),
        ("macs", "share of the multiply-adds"),
        ("speedup", "times as fast"),
    ),
    ("lost", "points of top-1 lost"),
    "fit",
    "method",
    y_most=30,
)
FACTORS = {
    "weights": "when=always}",
    "+ bias": "when=always,solver=svd,sequential=false}",
    "+ statistics": "when=always,solver=svd,statistics=true}",
    "whitened": "when=always,solver=whitened,sequential=false}",
    "layers": "when=always,solver=als,sequential=false}",
    "network": "when=always,solver=als}",
}
ZEROS = {
    "weights": "solver=magnitude},sparse-conv{when=always}",
    "+ bias": "solver=magnitude,sequential=false},sparse-conv{when=always}",
    "+ statistics": "solver=statistics},sparse-conv{when=always}",
    "layers": "solver=admm,sequential=false},sparse-conv{when=always}",
    "network": "solver=admm},sparse-conv{when=always}",
}
ALLOCATED = {"network": "methods=prune},sparse-conv{when=always}"}
FITS = {"prune": ZEROS, "compress": ALLOCATED}


@dataclass(frozen=True)
class Subject:
    """A trained network: its name in ../shared, and the methods to try. All convolutions but conv1 are rewritten."""

    name: str
    methods: tuple[str, ...]


_KRONECKER = tuple(f"kronecker{{compression={c}" for c in (2, 3, 5))
_PENNI = ("penni{d=5", "penni{d=5,sparsity=0.5", "penni{d=4", "penni{d=3", "penni{d=2")
_PRUNE = (
    *(f"prune{{sparsity=0.{s}" for s in (5, 6, 7, 8, 9)),
    *(f"prune{{sparsity=0.{s},pattern=4x1" for s in (5, 6, 7)),
    "prune{sparsity=0.5,pattern=16x1",
    "prune{sparsity=0.75,pattern=n:16",
)
_COMPRESS = tuple(f"compress{{macs={share}" for share in (0.333, 0.25))
SUBJECTS = (
    Subject("resnet20_cifar10_folded", (*_PENNI, *_KRONECKER, *_PRUNE, *_COMPRESS)),
    Subject("resnet32_cifar10", (_PENNI[0], _PENNI[3], _KRONECKER[0])),
    Subject("squeezenet1_1_imagenet", ("penni{d=7", "penni{d=5", _KRONECKER[0])),
)


def measure(request: Request) -> Iterator[Figure]:
    """A table a network, at the first of the thread counts."""
    for subject in SUBJECTS:
        yield _figure(subject, request)


def _figure(subject: Subject, request: Request) -> Figure:
    model = SHARED / "models" / f"{subject.name}.onnx"
    images = Images.of(subject.name)
    before = images.score(model)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        np.savez(data, **{session(model).get_inputs()[0].name: images.calibration})
        for method in subject.methods if not request.effort.quick else subject.methods[:1]:
            for fit, rest in FITS.get(method.partition("{")[0], FACTORS).items():
                rows.append(_row(model, data, images, before, (method, fit, rest), request.threads[0]))
    notes = (f"dense: {images.words(before)}", WHAT)
    title = f"accuracy of {subject.name}, no training"
    return Figure(f"accuracy_{subject.name}", title, COLUMNS, tuple(rows), notes, axes=AXES)


def _row(
    model: Path,
    data: Path,
    images: Images,
    before: dict[str, NDArray[Any]],
    how: tuple[str, str, str],
    threads: int,
) -> Row:
    """`how`: the method, what it is fitted to, and the rest of the pipeline that says so."""
    method, fit, rest = how
    target = data.with_name("out.onnx")
    passes = f"fold-batchnorm,{method},{rest}"
    budget = {"max_error": 1e6} if fit == "weights" else {"min_agreement": 0.0}
    given = {} if fit == "weights" else {"data": data}
    result = onnxcomp.optimize(
        model, target, passes=passes, threads=threads, goal="size", exclude=("^(conv1|linear)$",), **budget, **given
    )
    report = result.report
    return {
        "method": method.replace("{", " ").replace(",", ", "),
        "fit": fit,
        "parameters": report.output.parameters / report.input.parameters,
        "macs": (report.output.macs or 0) / (report.input.macs or 1),
        "speedup": report.latency.speedup,
        **images.compared(before, images.score(target)),
    }
