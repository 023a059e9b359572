"""Whole networks with random weights and zeros, through `onnxcomp.optimize`, against ONNX Runtime dense and int8."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import onnxcomp
from alexnet import ALEXNET
from figures.effort import Request
from figures.figure import Column, Figure, Row
from onnxcomp.bench import BenchResult, bench
from onnxcomp.calibration import data_for
from onnxcomp.quantized import CALIBRATION_SAMPLES
from onnxcomp.report.text import count
from onnxcomp.runtime.session import session
from resnet18 import RESNET18_CIFAR
from resnet50 import RESNET50
from resnet56 import RESNET56
from vgg16 import VGG16
from zoo.builder import Recipe
from zoo.command import Architecture

MAX_ERROR = 1e-4  # relative L2 of the logits: rounding of some fifty layers in a row
_QUICK_SIZE = 64  # pixels

COLUMNS = (
    Column("zeros", "zeros", ".1%"),
    Column("batch", "batch", "d"),
    Column("threads", "threads", "d"),
    Column("dense_ms", "dense ms", ".2f"),
    Column("ms", "onnxcomp ms", ".2f"),
    Column("speedup", "speedup", "x"),
    Column("int8_speedup", "int8", "x"),
    Column("file", "file", "x"),
    Column("memory", "memory", "x"),
    Column("load", "load", "x"),
    Column("rel_l2", "rel L2", ".0e"),
    Column("int8_rel_l2", "int8 rel L2", ".0e"),
)
WHAT = (
    "'speedup' and 'int8' are against ONNX Runtime dense in one interleaved run; 'file', 'memory' and 'load' are the "
    "optimized model's as a share of the input's"
)


@dataclass(frozen=True)
class Network:
    """`fully_connected`: whether its Gemm layers are made sparse too."""

    architecture: Architecture
    fully_connected: bool = False

    def image_size(self, *, quick: bool) -> int:
        """Pixels, smaller where it is quick."""
        return min(self.architecture.image_size, _QUICK_SIZE) if quick else self.architecture.image_size


NETWORKS: Mapping[str, Network] = MappingProxyType(
    {
        "resnet50": Network(RESNET50),
        "vgg16": Network(VGG16, fully_connected=True),
        "alexnet": Network(ALEXNET, fully_connected=True),
        "resnet18-cifar": Network(RESNET18_CIFAR),
        "resnet56": Network(RESNET56),
    }
)


def measure(name: str, request: Request) -> Iterator[Figure]:
    """One figure: every sparsity, number of threads and batch of the network called `name`."""
    network = NETWORKS[name]
    title = f"{name}, {request.structure}{', quick: small images' if request.effort.quick else ''}"
    rows, faults = [], []
    with tempfile.TemporaryDirectory(prefix="onnxcomp-") as folder:
        for sparsity in request.zeros:
            source = Path(folder) / f"{name}-{sparsity}.onnx"
            source.write_bytes(_build(network, sparsity, request))
            for threads in request.threads:
                target = source.with_suffix(".out.onnx")
                onnxcomp.optimize(source, target, threads=threads)
                for batch in request.batches:
                    result = _bench(source, target, batch, threads, request)
                    rows.append(_row(sparsity, result))
                    if result.models[1].note:
                        faults.append(f"{title}, batch {batch}, {count(threads, 'thread')}: {result.models[1].note}")
    yield Figure(name, title, COLUMNS, tuple(rows), (WHAT,), tuple(faults))


def _build(network: Network, sparsity: float, request: Request) -> bytes:
    recipe = Recipe(sparsity=sparsity, pattern=request.structure, fully_connected=network.fully_connected)
    size = network.image_size(quick=request.effort.quick)
    model, _ = network.architecture.build(recipe, image_size=size)
    return bytes(model.SerializeToString())


def _bench(source: Path, target: Path, batch: int, threads: int, request: Request) -> BenchResult:
    data = data_for(session(source, threads), None, batch=batch, count=max(batch, CALIBRATION_SAMPLES))
    effort = request.effort
    return bench(
        [source, target],
        data,
        batch=batch,
        threads=threads,
        seconds=3 * effort.seconds,
        min_rounds=effort.min_rounds,
        max_error=MAX_ERROR,
        int8=True,
    )


def _row(sparsity: float, result: BenchResult) -> Row:
    dense, ours, int8 = result.models
    return {
        "zeros": sparsity,
        "batch": result.batch,
        "threads": result.threads,
        "dense_ms": dense.median_ms,
        "ms": ours.median_ms,
        "int8_ms": int8.median_ms,
        "speedup": ours.speedup,
        "int8_speedup": int8.speedup,
        "file": ours.file_bytes / dense.file_bytes,
        "memory": ours.rss_bytes / dense.rss_bytes,
        "load": ours.load_ms / dense.load_ms,
        "rel_l2": ours.rel_l2,
        "int8_rel_l2": int8.rel_l2,
        "int8_argmax_agreement": int8.argmax_agreement,
    }
