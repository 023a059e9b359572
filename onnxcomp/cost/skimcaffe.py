"""What a direct sparse convolution takes, as a formula (Park et al., ICLR 2017, section 3.2).

    t_dense  = C / F
    t_sparse = max(alpha * x * C / F, (S_A + beta * x * S_W) / B)

    C            FLOPs of the dense layer             F   the machine's FLOP/s
    x            share of the weights kept            B   its bytes/s at a working set of S_A + x * S_W
    S_A, S_W     bytes of activations and weights

alpha, how much dearer a FLOP is in the sparse kernel, and beta, how many bytes a stored weight is for each of its own,
are fitted to measured times, for each kind of layer its own: a kind is a form of the kernel's inner loop.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

_BYTES = 4  # of a float32
_SMALL_MAP = 64  # outputs of a channel below which they no longer fill the kernel's register tiles
_STARTS = ((1.5, 1.0), (1.5, 8.0), (4.0, 2.0))  # of (alpha, beta): the maximum has kinks
_BOUNDS = (1e-2, 1e3)


@dataclass(frozen=True)
class Work:
    """What a layer asks of the machine. `kind` chooses the constants."""

    kind: str
    flops: float  # C, of the dense layer
    activation_bytes: float  # S_A
    weight_bytes: float  # S_W, dense
    density: float  # x

    @classmethod
    def of(
        cls, x: Sequence[int], y: Sequence[int], weight: Sequence[int], strides: Sequence[int], density: float
    ) -> "Work":
        """A Conv's, from the shapes of its tensors."""
        flops = 2.0 * y[0] * prod(y[2:]) * prod(weight)
        return cls(_kind(y, weight, strides), flops, _BYTES * (prod(x) + prod(y)), _BYTES * prod(weight), density)

    @property
    def working_set_bytes(self) -> float:
        """Bytes that the sparse layer touches."""
        return self.activation_bytes + self.density * self.weight_bytes


@dataclass(frozen=True)
class Machine:
    """F in FLOP/s, and B in bytes/s as a function of the working set in bytes."""

    flops_per_s: float
    bytes_per_s: Callable[[float], float]


@dataclass(frozen=True)
class Fit:
    """The constants of a kind of layer, and how far off they are: the median of the ratio, 1 or more, either way."""

    kind: str
    alpha: float
    beta: float
    points: int
    median_ratio: float


def dense_ms(work: Work, machine: Machine) -> float:
    """t_dense."""
    return 1e3 * work.flops / machine.flops_per_s


def sparse_ms(work: Work, machine: Machine, alpha: float, beta: float) -> float:
    """t_sparse."""
    moved = work.activation_bytes + beta * work.density * work.weight_bytes
    return max(
        alpha * work.density * dense_ms(work, machine), 1e3 * moved / machine.bytes_per_s(work.working_set_bytes)
    )


def fit(measured: Iterable[tuple[Work, float]], machine: Machine) -> tuple[Fit, ...]:
    """The constants that come closest to the measured milliseconds of sparse layers, kind by kind."""
    by_kind: dict[str, list[tuple[Work, float]]] = {}
    for work, ms in measured:
        by_kind.setdefault(work.kind, []).append((work, ms))
    return tuple(_fit(kind, points, machine) for kind, points in sorted(by_kind.items()))


def _fit(kind: str, points: Sequence[tuple[Work, float]], machine: Machine) -> Fit:
    def log_ratios(log_constants: NDArray[np.float64]) -> NDArray[np.float64]:
        alpha, beta = np.exp(log_constants)
        return np.array([np.log(sparse_ms(work, machine, alpha, beta) / ms) for work, ms in points])

    runs = [
        least_squares(log_ratios, np.log(start), bounds=tuple(np.log(_BOUNDS)), loss="soft_l1") for start in _STARTS
    ]
    best = min(runs, key=lambda run: float(run.cost))
    alpha, beta = (float(constant) for constant in np.exp(best.x))
    return Fit(kind, alpha, beta, len(points), float(np.exp(np.median(np.abs(log_ratios(best.x))))))


def _kind(y: Sequence[int], weight: Sequence[int], strides: Sequence[int]) -> str:
    if any(stride > 1 for stride in strides):
        return "strided"
    form = "pointwise" if prod(weight[2:]) == 1 else "spatial"
    return f"{form}, small map" if prod(y[2:]) < _SMALL_MAP else form
