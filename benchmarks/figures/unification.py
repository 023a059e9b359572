"""What blocks of one magnitude cost in accuracy and save in bytes: trained networks of ../shared, unified by `unify`.

Every block size, share and set of levels twice: of the weights alone, and fitted to unlabelled data.
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
    Column("blocks", "blocks"),
    Column("fit", "fitted to"),
    Column("bytes", "bytes", ".3f"),
    Column("weights", "weights", ".3f"),
    Column("speedup", "speedup", "x"),
    Column("agreement", "agreement", ".1f"),
    Column("lost", "points lost", ".1f"),
    Column("lost_clean", "clean", ".1f"),
)
WHAT = (
    "'bytes' is the share of the dense file, 'weights' that of the weights in the layers that were rewritten; the "
    "first convolution and the last layer stay as they are. Every layer is rewritten, whether that pays or not"
)
AXES = Axes(
    (("bytes", "share of the file"), ("speedup", "times as fast")),
    ("lost", "points of top-1 lost"),
    "fit",
    "blocks",
    y_most=10,
)
FITS = {"weights": False, "data": True}


@dataclass(frozen=True)
class Subject:
    """A trained network: its name in ../shared, and the options of `unify` to try. conv1 stays dense."""

    name: str
    options: tuple[str, ...]


_ALL = "unified=1"
_SUBJECTS = (
    Subject(
        "resnet20_cifar10_folded",
        (
            "unified=0.25",
            "unified=0.5",
            _ALL,
            *(f"{_ALL},levels={levels}" for levels in ("1:0", "1:0.5", "1:0.5:0", "1:0.5:0.25")),
            *(f"unified=0.5,block={block}" for block in ("8x1", "1x8", "16x1", "8x8")),
            f"{_ALL},block=1x16",
            f"{_ALL},block=1x16,levels=1:0.5:0",
            "unified=0.7,pruned=0.3,levels=1:0.5:0",
            "unified=0.5,pruned=0.5,levels=1:0.5:0",
        ),
    ),
    Subject("resnet32_cifar10", ("unified=0.5", f"{_ALL},levels=1:0.5:0")),
    Subject(
        "squeezenet1_1_imagenet",
        ("unified=0.5", "unified=0.5,block=1x8", *(f"{_ALL},block={b},levels=1:0.5:0" for b in ("4x4", "1x16", "1x8"))),
    ),
)


def measure(request: Request) -> Iterator[Figure]:
    """A table a network, at the first of the thread counts."""
    for subject in _SUBJECTS:
        yield _figure(subject, request)


def _figure(subject: Subject, request: Request) -> Figure:
    model = SHARED / "models" / f"{subject.name}.onnx"
    images = Images.of(subject.name)
    before = images.score(model)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        np.savez(data, **{session(model).get_inputs()[0].name: images.calibration})
        for options in subject.options if not request.effort.quick else subject.options[:1]:
            for fit, fitted in FITS.items():
                given = {"data": data, "min_agreement": 0.0} if fitted else {"max_error": 1e6}
                row = _row(model, Path(folder) / "out.onnx", images, before, options, given, request.threads[0])
                rows.append({"blocks": _words(options), "fit": fit, **row})
    notes = (f"dense: {images.words(before)}", WHAT)
    title = f"unified blocks in {subject.name}, no training"
    return Figure(f"unification_{subject.name}", title, COLUMNS, tuple(rows), notes, axes=AXES)


def _row(
    model: Path,
    target: Path,
    images: Images,
    before: dict[str, NDArray[Any]],
    options: str,
    given: dict[str, Any],
    threads: int,
) -> Row:
    passes = f"fold-batchnorm,unify{{{options},when=always}}"
    result = onnxcomp.optimize(
        model, target, passes=passes, threads=threads, goal="size", exclude=("^(conv1|linear)$",), **given
    )
    report = result.report
    sizes = [layer.bytes for layer in report.layers if layer.method == "unify"]
    return {
        "bytes": report.output.bytes / report.input.bytes,
        "weights": sum(size[1] for size in sizes) / sum(size[0] for size in sizes),
        "speedup": report.latency.speedup,
        **images.compared(before, images.score(target)),
    }


def _words(options: str) -> str:
    """Block size, shares and levels as the table has them."""
    given = {"block": "4x4", "levels": "1", "pruned": "0", **dict(part.split("=") for part in options.split(","))}
    zero = f", {float(given['pruned']):.0%} zero" if given["pruned"] != "0" else ""
    return f"{given['block']} {float(given['unified']):.0%}{zero} {{{given['levels'].replace(':', ', ')}}}"
