"""Never slower: `onnxcomp.optimize` as it is, on every network of models/ at every share of zeros, and on real ones."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnxcomp
from alexnet import ALEXNET
from figures.effort import Request
from figures.figure import Column, Figure, Row
from mobilenet_v2 import MOBILENET_V2
from onnxcomp.bench import bench
from onnxcomp.calibration import data_for
from onnxcomp.runtime.session import session
from resnet18 import RESNET18, RESNET18_CIFAR
from resnet20 import RESNET20
from resnet32 import RESNET32
from resnet50 import RESNET50
from resnet56 import RESNET56
from squeezenet1_0 import SQUEEZENET1_0
from squeezenet1_1 import SQUEEZENET1_1
from vgg16 import VGG16
from zoo.builder import Recipe

ARCHITECTURES = {
    "alexnet": ALEXNET,
    "mobilenet-v2": MOBILENET_V2,
    "resnet18": RESNET18,
    "resnet18-cifar": RESNET18_CIFAR,
    "resnet20": RESNET20,
    "resnet32": RESNET32,
    "resnet50": RESNET50,
    "resnet56": RESNET56,
    "squeezenet1.0": SQUEEZENET1_0,
    "squeezenet1.1": SQUEEZENET1_1,
    "vgg16": VGG16,
}
REAL = Path(__file__).parents[3] / "shared" / "models"
SPARSITIES = (0.0, 0.5, 0.7, 0.8, 0.9)
SLOWER = 0.97  # of the input's speed: below it the promise is broken
MAX_ERROR = 1e-4  # relative L2: rounding of some fifty layers in a row
_QUICK = ("resnet20",)

COLUMNS = (
    Column("network", "network"),
    Column("zeros", "zeros", ".0%"),
    Column("threads", "threads", "d"),
    Column("speedup", "speedup", "x"),
    Column("file", "file", "x"),
    Column("rel_l2", "rel L2", ".0e"),
)


def measure(request: Request) -> Iterator[Figure]:
    """One figure: everything, batch 1. A result slower than its input is a fault like a wrong answer."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="onnxcomp-") as folder:
        for name, zeros, source in _sources(Path(folder), quick=request.effort.quick):
            for threads in request.threads:
                ours = _optimized(source, threads, request)
                rows.append({"network": name, "zeros": zeros, "threads": threads, **ours})
    slow = [f"{r['network']} is slower than its input" for r in rows if float(r["speedup"] or 0) < SLOWER]
    wrong = [f"{r['network']}: {r['note']}" for r in rows if r["note"]]
    yield Figure("auto", "never slower", COLUMNS, tuple(rows), (), (*wrong, *(() if request.effort.quick else slow)))


def _sources(folder: Path, *, quick: bool) -> Iterator[tuple[str, float | None, Path]]:
    """Name, share of zeros (None: as it was trained) and file."""
    for name, architecture in ARCHITECTURES.items():
        if quick and name not in _QUICK:
            continue
        for sparsity in SPARSITIES:
            path = folder / "network.onnx"
            model, _ = architecture.build(Recipe(sparsity=sparsity), image_size=architecture.image_size)
            path.write_bytes(model.SerializeToString())
            yield name, sparsity, path
    if not quick and REAL.is_dir():
        for path in sorted(REAL.glob("*.onnx")):
            yield path.stem, None, path


def _optimized(source: Path, threads: int, request: Request) -> dict[str, str | float | None]:
    with tempfile.TemporaryDirectory(prefix="onnxcomp-") as folder:
        target = Path(folder) / "optimized.onnx"
        onnxcomp.optimize(source, target, threads=threads)
        data = data_for(session(source, threads), None)
        effort = request.effort
        dense, ours = bench(
            [source, target],
            data,
            threads=threads,
            seconds=effort.seconds,
            min_rounds=effort.min_rounds,
            max_error=MAX_ERROR,
        ).models
    return {
        "speedup": ours.speedup,
        "file": ours.file_bytes / dense.file_bytes,
        "rel_l2": ours.rel_l2,
        "note": ours.note,
    }
