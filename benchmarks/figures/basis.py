"""3x3 layers of ResNet-50 and VGG-16 whose kernels share d bases (PENNI), each as a model of one Conv, batch 1."""

from collections.abc import Iterator, Sequence

import numpy as np

from figures import layers
from figures.effort import Request
from figures.figure import Figure
from figures.single_conv import ConvLayer, Measured, basis_model, compare_models, dense_model
from onnxcomp.report.text import count

LAYERS = (
    ConvLayer("3x3 128@28", 128, 128, 28),
    ConvLayer("3x3 256@14", 256, 256, 14),
    ConvLayer("3x3 512@7", 512, 512, 7),
    ConvLayer("VGG 3x3 128@112", 128, 128, 112),
    ConvLayer("VGG 3x3 256@56", 256, 256, 56),
    ConvLayer("VGG 3x3 512@28", 512, 512, 28),
    ConvLayer("VGG 3x3 512@14", 512, 512, 14),
)
BASES = (2, 5)


def measure(request: Request, measured_layers: Sequence[ConvLayer] = LAYERS) -> Iterator[Figure]:
    """A figure for each number of bases, share of zero coefficients and number of threads."""
    for bases in BASES:
        for sparsity in request.sparsities:
            for threads in request.threads:
                yield _figure(request, measured_layers, bases, sparsity, threads)


def _figure(
    request: Request, measured_layers: Sequence[ConvLayer], bases: int, sparsity: float, threads: int
) -> Figure:
    title = f"basis, {bases} bases, {sparsity:.1%} zero coefficients, {count(threads, 'thread')}, batch 1"
    found = [_measured(layer, request, bases, sparsity, threads) for layer in measured_layers]
    return layers.table("basis", title, measured_layers, found)


def _measured(layer: ConvLayer, request: Request, bases: int, sparsity: float, threads: int) -> Measured:
    rng = np.random.default_rng(0)
    kernels = rng.standard_normal((bases, layer.kernel, layer.kernel), np.float32)
    coefficients = rng.standard_normal((*layer.weight_shape[:2], bases), np.float32)
    coefficients.flat[rng.permutation(coefficients.size)[: round(sparsity * coefficients.size)]] = 0
    coefficients /= np.sqrt(kernels[0].size * np.count_nonzero(coefficients) / layer.c_out)  # keeps X's variance
    models = [dense_model(layer, np.tensordot(coefficients, kernels, 1)), basis_model(layer, coefficients, kernels)]
    return compare_models(layer, models, threads, request.effort)
