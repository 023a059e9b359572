"""One output of two models, compared batch by batch.

    a, b      the reference's and the other model's values, both finite; d = b - a
    abs       |d|
    rel       |d| / max(|a|, eps max|a|)      eps of float32, the maximum over the batch: below it `a` is rounding noise
    rel_l2    ||d|| / ||a||                   over all batches
    cosine    a.b / (||a|| ||b||)             over all batches

Where the reference is zero all over, rel and rel_l2 are 1 wherever the other is not zero too. NaN where the other has
NaN, and Inf where it has the same Inf, are equal; any other meeting of theirs is `unequal`, and enters nothing else.
Outputs that are no floats count elements that differ as `unequal`.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.verify.quantile import Quantile

_EPSILON = float(np.finfo(np.float32).eps)
_SLICE = 1 << 18  # elements worked on at a time, so that temporaries stay small beside the outputs


@dataclass(frozen=True)
class Tolerance:
    """When an output passes.

    Floats: rel_l2 <= max_error. Others: the share of elements that differ <= max_error. Where `rtol` or `atol` is
    given, instead: |d| <= atol + rtol |a| for every element. Where `min_agreement` is given, also: the argmax of an
    output that has classes agrees on at least that share of the samples.
    """

    max_error: float = 1e-3
    rtol: float | None = None
    atol: float | None = None
    min_agreement: float | None = None

    @property
    def elementwise(self) -> bool:
        """Whether every element is held to rtol and atol."""
        return self.rtol is not None or self.atol is not None

    def allowed(self, magnitude: NDArray[np.float64]) -> NDArray[np.float64]:
        """The |d| allowed where |a| is `magnitude`."""
        return (self.atol or 0.0) + (self.rtol or 0.0) * magnitude


@dataclass(frozen=True)
class OutputComparison:
    """The result; `None` where a measure does not apply. Shares lie between 0 and 1."""

    name: str
    passed: bool
    reason: str | None
    elements: int
    max_abs: float | None
    mean_abs: float | None
    p99_abs: float | None
    max_rel: float | None
    mean_rel: float | None
    p99_rel: float | None
    rel_l2: float | None
    cosine: float | None
    argmax_agreement: float | None
    nan: tuple[int, int]
    inf: tuple[int, int]
    unequal: int

    def to_json(self) -> dict[str, Any]:
        """For a report: numbers that JSON has no word for are None."""
        return {name: plain(value) for name, value in vars(self).items()}


class OutputErrors:
    """Running sums over batches, from which an `OutputComparison` comes."""

    def __init__(self, name: str, tolerance: Tolerance) -> None:
        self.name = name
        self.tolerance = tolerance
        self.reason: str | None = None
        self.elements = self.unequal = self.outside = 0
        self.nan, self.inf = [0, 0], [0, 0]
        self.numbers = self.floats = True
        self._abs, self._rel = Quantile(), Quantile()
        self._sum_abs = self._sum_rel = 0.0
        self._dd = self._aa = self._bb = self._ab = 0.0
        self._agreed = self._judged = 0

    def add(self, a: Any, b: Any) -> None:
        """Take one batch in. What cannot be compared, a sequence or another shape, is kept as the reason to fail."""
        if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
            self.reason = self.reason or f"it is a {type(a).__name__}, only tensors can be compared"
            return
        if a.shape != b.shape:
            self.reason = self.reason or f"its shape is {list(a.shape)} in one and {list(b.shape)} in the other"
            return
        self.elements += a.size
        self.floats = a.dtype.kind not in "biuOUS"
        self.numbers = a.dtype.kind not in "OUS"
        if not self.numbers:
            self.unequal += int((a != b).sum())
            return
        if not self.floats:
            self.unequal += int((a != b).sum())
        self._add_numbers(a.ravel(), b.ravel())
        self._add_argmax(a, b)

    def _add_numbers(self, a: NDArray[Any], b: NDArray[Any]) -> None:
        scale = _largest_finite(a)
        for start in range(0, a.size, _SLICE):
            x, y = (part[start : start + _SLICE].astype(np.float64) for part in (a, b))
            both = self._set_aside_nonfinite(x, y)
            x, y = x[both], y[both]
            with np.errstate(over="ignore", invalid="ignore"):
                self._add_finite(x, y, scale)

    def _set_aside_nonfinite(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Count NaN and Inf; returns where both are finite."""
        for side, values in enumerate((x, y)):
            self.nan[side] += int(np.isnan(values).sum())
            self.inf[side] += int(np.isinf(values).sum())
        both = np.isfinite(x) & np.isfinite(y)
        self.unequal += int((~both & (x != y) & ~(np.isnan(x) & np.isnan(y))).sum())
        return np.asarray(both)

    def _add_finite(self, x: NDArray[np.float64], y: NDArray[np.float64], scale: float) -> None:
        d, magnitude = np.abs(y - x), np.abs(x)
        rel = d / np.maximum(magnitude, _EPSILON * scale) if scale else (d > 0).astype(np.float64)
        self._abs.add(d)
        self._rel.add(rel)
        self._sum_abs += float(d.sum())
        self._sum_rel += float(rel.sum())
        self._dd += _dot(d, d)
        self._aa += _dot(x, x)
        self._bb += _dot(y, y)
        self._ab += _dot(x, y)
        if self.tolerance.elementwise:
            self.outside += int((~(d <= self.tolerance.allowed(magnitude))).sum())

    def _add_argmax(self, a: NDArray[Any], b: NDArray[Any]) -> None:
        classes = max(a.shape[1:], default=0)
        if classes < 2 or a.size != len(a) * classes:  # one dimension of classes, all others after the first are 1
            return
        a, b = (values.reshape(len(values), classes) for values in (a, b))
        self._agreed += int((a.argmax(1) == b.argmax(1)).sum())
        self._judged += len(a)

    def result(self) -> OutputComparison:
        """The comparison so far."""
        finite = self._abs.count
        rel_l2 = _ratio(math.sqrt(self._dd), math.sqrt(self._aa))
        norms = math.sqrt(self._aa) * math.sqrt(self._bb)
        cosine = max(-1.0, min(1.0, self._ab / norms)) if norms else float(self._aa == self._bb)
        agreement = self._agreed / self._judged if self._judged else None
        reason = self.reason or self._fault(rel_l2) or self._disagreement(agreement)

        def number(value: float) -> float | None:
            return value if self.numbers and self.reason is None else None

        return OutputComparison(
            name=self.name,
            passed=reason is None,
            reason=reason,
            elements=self.elements,
            max_abs=number(self._abs.max),
            mean_abs=number(self._sum_abs / max(1, finite)),
            p99_abs=number(self._abs.at(0.99)),
            max_rel=number(self._rel.max),
            mean_rel=number(self._sum_rel / max(1, finite)),
            p99_rel=number(self._rel.at(0.99)),
            rel_l2=number(rel_l2),
            cosine=number(cosine),
            argmax_agreement=agreement,
            nan=(self.nan[0], self.nan[1]),
            inf=(self.inf[0], self.inf[1]),
            unequal=self.unequal,
        )

    def _disagreement(self, agreement: float | None) -> str | None:
        least = self.tolerance.min_agreement
        if least is None or agreement is None or agreement >= least:
            return None
        return f"the same argmax on {agreement:.2%} of the samples, below {least:.2%}"

    def _fault(self, rel_l2: float) -> str | None:
        tolerance = self.tolerance
        if self.unequal and self.floats:
            return f"{self.unequal} elements are NaN or Inf in one model only"
        if tolerance.elementwise and self.numbers:
            if self.outside:
                limits = f"atol {tolerance.atol or 0:g}, rtol {tolerance.rtol or 0:g}"
                return f"{self.outside} of {self.elements} elements are outside {limits}"
        elif self.floats:
            if not rel_l2 <= tolerance.max_error:  # NaN fails
                return f"relative L2 error {rel_l2:.3g} is above {tolerance.max_error:g}"
        elif self.unequal > tolerance.max_error * self.elements:
            return f"{self.unequal} of {self.elements} elements differ"
        return None


def _largest_finite(a: NDArray[Any]) -> float:
    """max|a| over finite elements; 0 where there are none."""
    largest = 0.0
    for start in range(0, a.size, _SLICE):
        x = a[start : start + _SLICE].astype(np.float64)
        largest = max(largest, float(np.abs(x, where=np.isfinite(x), out=np.zeros_like(x)).max(initial=0.0)))
    return largest


def _dot(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    # Not x @ y: BLAS shares so short a product out to threads, and waits for a core that a session may be using.
    return float((x * y).sum())


def _ratio(error: float, reference: float) -> float:
    if reference:
        return error / reference
    return 1.0 if error else 0.0


def plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value
