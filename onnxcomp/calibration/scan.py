"""What only a pass over all samples tells: their number, labels, fingerprint, and values that are no numbers."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.calibration.samples import Samples
from onnxcomp.errors import DataError


@dataclass(frozen=True)
class Scan:
    """`sha256`: hex, of the samples in order; `nonfinite`: how many NaN and Inf, for inputs that hold any."""

    count: int
    labels: NDArray[Any] | None
    sha256: str
    nonfinite: dict[str, dict[str, int]]


def scan(stream: Iterable[Samples], where: str) -> Scan:
    """Read `stream` to its end. How it is cut makes no difference. Raises DataError where only some have labels."""
    inputs: dict[str, _InputScan] = {}
    labels: list[NDArray[Any]] = []
    count = labelled = 0
    for samples in stream:
        count += samples.count
        if samples.labels is not None:
            labels.append(samples.labels)
            labelled += samples.count
        for name, array in samples.arrays.items():
            inputs.setdefault(name, _InputScan()).add(array)
    if labelled not in (0, count):
        raise DataError(f"{where}: {labelled} of {count} samples have labels; label all or none")
    return Scan(
        count,
        np.concatenate(labels) if labels else None,
        hashlib.sha256("".join(f"{name}\n{part.digest()}\n" for name, part in inputs.items()).encode()).hexdigest(),
        {name: {"nan": part.nan, "inf": part.inf} for name, part in inputs.items() if part.nan or part.inf},
    )


class _InputScan:
    """The same for one input."""

    def __init__(self) -> None:
        self.nan = self.inf = 0
        self._hash = hashlib.sha256()
        self._kind = ""

    def add(self, array: NDArray[Any]) -> None:
        kind = f"{array.dtype.name}{list(array.shape[1:])}"
        if kind != self._kind:  # once a shape, not once a chunk, or the cutting would show
            self._hash.update(kind.encode())
            self._kind = kind
        self._hash.update(np.ascontiguousarray(array).data)
        if array.dtype.kind == "f":
            self.nan += int(np.isnan(array).sum())
            self.inf += int(np.isinf(array).sum())

    def digest(self) -> str:
        return self._hash.hexdigest()
