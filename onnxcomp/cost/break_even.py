"""From how many zeros on the sparse kernel beats ORT's dense Conv, layer class by layer class.

Both are taken as nodes in ORT's profile, without the conversions that ORT puts around a lone dense Conv. Zeros are
random; sparsity is the share of weights that are zero.
"""

from dataclasses import dataclass

import numpy as np

from onnxcomp.cost.layers import LayerClass, dense_model, sparse_model
from onnxcomp.cost.measure import conv_ms
from onnxcomp.cost.skimcaffe import Work
from onnxcomp.cost.waking import times_inside

MOST_ZEROS = 0.98
_STEPS = 5  # halvings of the range: to 3 points of sparsity
_TYPICAL = 0.9
_MODELLED = (0.5, 0.7, 0.8, 0.9, 0.95)  # what the cost model is fitted to


@dataclass(frozen=True)
class BreakEven:
    """`sparsity`: where the sparse kernel draws level, None where it does not up to `MOST_ZEROS`."""

    layer: str
    shape: LayerClass
    sparsity: float | None
    dense_ms: float
    speedup_at_90: float
    sparse: tuple[tuple[float, float], ...]  # sparsities, the same for all layers, and the sparse kernel's milliseconds

    @property
    def measured(self) -> list[tuple[Work, float]]:
        """The sparse times as the cost model's fit takes them."""
        return [(self.shape.work(1 - sparsity), ms) for sparsity, ms in self.sparse]


def break_even(layer: LayerClass, threads: int) -> BreakEven:
    """Measure one layer class: a bisection, a fraction of a second a step. Needs the extension library."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(layer.x_shape, np.float32)
    weight = rng.standard_normal(layer.weight_shape, np.float32)
    ranks = rng.permutation(weight.size).reshape(weight.shape)  # weights of rank below a bound become zero
    points: dict[float, tuple[float, float]] = {}  # by sparsity: dense and sparse milliseconds

    def wins(sparsity: float) -> bool:
        zeros = np.where(ranks < sparsity * weight.size, np.float32(0), weight)
        dense, sparse = times_inside([dense_model(layer, weight), sparse_model(layer, zeros)], {"X": x}, threads)
        points[sparsity] = conv_ms(dense), conv_ms(sparse)
        return points[sparsity][1] < points[sparsity][0]

    level: float | None = MOST_ZEROS
    if wins(_TYPICAL):
        level = _TYPICAL
    elif not wins(MOST_ZEROS):
        level = None
    low, high = 0.0, level or 0.0
    for _ in range(_STEPS if level else 0):
        middle = (low + high) / 2
        low, high = (low, middle) if wins(middle) else (middle, high)
    for sparsity in sorted(set(_MODELLED) - points.keys()):
        wins(sparsity)
    dense_ms, typical_ms = points[_TYPICAL]
    sparse = tuple((sparsity, points[sparsity][1]) for sparsity in _MODELLED)
    return BreakEven(str(layer), layer, round(high, 3) if level else None, dense_ms, dense_ms / typical_ms, sparse)
