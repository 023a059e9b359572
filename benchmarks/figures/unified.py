"""3x3 layers in 4x4 blocks of one magnitude each, a share of them zero, each as a model of one Conv, batch 1."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from figures import layers
from figures.effort import Request
from figures.figure import Figure
from figures.single_conv import ConvLayer, Measured, compare_models, dense_model, unified_model
from onnxcomp.report.text import count

LAYERS = (
    ConvLayer("3x3 64@56", 64, 64, 56),
    ConvLayer("3x3 128@28", 128, 128, 28),
    ConvLayer("3x3 256@14", 256, 256, 14),
    ConvLayer("VGG 3x3 128@56", 128, 128, 56),
    ConvLayer("VGG 3x3 256@56", 256, 256, 56),
    ConvLayer("VGG 3x3 256@28", 256, 256, 28),
    ConvLayer("VGG 3x3 512@28", 512, 512, 28),
    ConvLayer("VGG 3x3 512@14", 512, 512, 14),
)
BLOCK = (4, 4)


def measure(request: Request, measured_layers: Sequence[ConvLayer] = LAYERS) -> Iterator[Figure]:
    """A figure for each share of zero blocks and number of threads."""
    for sparsity in request.sparsities:
        for threads in request.threads:
            yield _figure(request, measured_layers, sparsity, threads)


def _figure(request: Request, measured_layers: Sequence[ConvLayer], sparsity: float, threads: int) -> Figure:
    title = f"unified, 4x4 blocks of one magnitude, {sparsity:.1%} zero, {count(threads, 'thread')}, batch 1"
    found = [_measured(layer, request, sparsity, threads) for layer in measured_layers]
    return layers.table("unified", title, measured_layers, found)


def _measured(layer: ConvLayer, request: Request, sparsity: float, threads: int) -> Measured:
    weight = unified_weight(layer, sparsity)
    models = [dense_model(layer, weight), unified_model(layer, weight, BLOCK)]
    return compare_models(layer, models, threads, request.effort)


def unified_weight(layer: ConvLayer, sparsity: float) -> NDArray[np.float32]:
    """Random signs and scales that keep the input's variance; a share `sparsity` of the blocks is zero."""
    rng = np.random.default_rng(0)
    outputs, channels, *kernel = layer.weight_shape
    grid = (outputs // BLOCK[0], channels // BLOCK[1], *kernel)
    scales = rng.uniform(0.5, 1.5, grid)
    scales.flat[rng.permutation(scales.size)[: round(sparsity * scales.size)]] = 0
    scales *= np.sqrt(2 / max(channels * np.prod(kernel) * (1 - sparsity), 1))
    magnitudes = scales.astype(np.float16).repeat(BLOCK[0], axis=0).repeat(BLOCK[1], axis=1)
    return np.where(rng.random(layer.weight_shape) < 0.5, -1, 1).astype(np.float32) * magnitudes
