"""Layers of VGG, ResNet, AlexNet and CIFAR networks, each as a model of one Conv, batch 1, zeros at random places."""

from collections.abc import Iterator, Sequence
from statistics import geometric_mean

import numpy as np

from figures.effort import Request
from figures.figure import Column, Figure, Row
from figures.single_conv import ConvLayer, Measured, compare, he_weight
from onnxcomp.report.text import count
from zoo.weights import zero_mask

LAYERS = (
    ConvLayer("VGG 3x3 256@56", 256, 256, 56),
    ConvLayer("VGG 3x3 512@28", 512, 512, 28),
    ConvLayer("VGG 3x3 64@224", 64, 64, 224),
    ConvLayer("3x3 64@56", 64, 64, 56),
    ConvLayer("3x3 128@28", 128, 128, 28),
    ConvLayer("3x3 256@14", 256, 256, 14),
    ConvLayer("3x3 512@7", 512, 512, 7),
    ConvLayer("3x3 256@28, stride 2", 256, 256, 28, stride=2),
    ConvLayer("1x1 64-256@56", 64, 256, 56, kernel=1),
    ConvLayer("1x1 512-128@28", 512, 128, 28, kernel=1),
    ConvLayer("1x1 256-1024@14", 256, 1024, 14, kernel=1),
    ConvLayer("1x1 2048-512@7", 2048, 512, 7, kernel=1),
    ConvLayer("AlexNet conv2", 96, 256, 27, kernel=5, group=2),
    ConvLayer("AlexNet conv3", 256, 384, 13),
    ConvLayer("CIFAR 3x3 16@32", 16, 16, 32),
    ConvLayer("CIFAR 3x3 64@8", 64, 64, 8),
    ConvLayer("CIFAR 3x3 512@4", 512, 512, 4),
    ConvLayer("CIFAR 3x3 512@2", 512, 512, 2),
)

COLUMNS = (
    Column("layer", "layer"),
    Column("dense_ms", "dense ms", ".3f"),
    Column("sparse_ms", "sparse ms", ".3f"),
    Column("speedup", "speedup", "x"),
    Column("dense_node_ms", "dense node", ".3f"),
    Column("sparse_node_ms", "sparse node", ".3f"),
    Column("node_speedup", "by node", "x"),
    Column("rel_l2", "rel L2", ".0e"),
)
WHAT = "'speedup' is session against session, NCHW at both ends; 'by node' leaves out the dense Conv's conversions"


def measure(request: Request, layers: Sequence[ConvLayer] = LAYERS) -> Iterator[Figure]:
    """A figure for each sparsity and number of threads; one that says so where the structure cannot be stored."""
    for sparsity in request.zeros:
        for threads in request.threads:
            yield _figure(request, layers, sparsity, threads)


def table(name: str, title: str, layers: Sequence[ConvLayer], found: Sequence[Measured]) -> Figure:
    """What was measured of `layers`, a row each, and the geometric mean."""
    mean: Row = {
        "layer": "geometric mean",
        "speedup": geometric_mean(one.speedup for one in found),
        "node_speedup": geometric_mean(one.node_speedup for one in found),
    }
    rows = (*(row(layer.name, one) for layer, one in zip(layers, found, strict=True)), mean)
    return Figure(name, title, COLUMNS, rows, (WHAT,), tuple(one.fault for one in found if one.fault))


def row(name: str, measured: Measured) -> Row:
    """A layer in the table."""
    return {
        "layer": name,
        "dense_ms": measured.dense_ms,
        "sparse_ms": measured.sparse_ms,
        "speedup": measured.speedup,
        "dense_node_ms": measured.dense_node_ms,
        "sparse_node_ms": measured.sparse_node_ms,
        "node_speedup": measured.node_speedup,
        "rel_l2": measured.rel_l2,
    }


def _figure(request: Request, layers: Sequence[ConvLayer], sparsity: float, threads: int) -> Figure:
    title = f"layers, {request.structure}, {sparsity:.1%} zeros, {count(threads, 'thread')}, batch 1"
    return table("layers", title, layers, [_measured(layer, request, sparsity, threads) for layer in layers])


def _measured(layer: ConvLayer, request: Request, sparsity: float, threads: int) -> Measured:
    rng = np.random.default_rng(0)
    mask = zero_mask(layer.weight_shape, sparsity, request.structure, rng)
    return compare(layer, he_weight(layer, mask, rng), request.structure, threads, request.effort)
