"""What flows from a source to a model: runs of samples, cut and joined into batches."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onnxcomp.errors import DataError


@dataclass(frozen=True)
class Samples:
    """Some samples in a row: arrays [n, ...] by input name, and labels [n, ...] where there are any."""

    arrays: dict[str, NDArray[Any]]
    labels: NDArray[Any] | None = None

    @property
    def count(self) -> int:
        """How many samples: the length of the first input that has one."""
        return next((len(array) for array in self.arrays.values() if array.ndim), 1)

    @property
    def sample_shapes(self) -> list[tuple[int, ...]]:
        """The shape of one sample of each input."""
        return [array.shape[1:] for array in self.arrays.values()]

    def require_equal_lengths(self, where: str) -> None:
        """Raise DataError unless every input, and the labels, have equally many samples."""
        lengths = {name: len(array) for name, array in self.arrays.items()}
        if self.labels is not None:
            lengths["labels"] = len(self.labels)
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise DataError(f"{where}: unequal numbers of samples: {found}; give as many of each")

    def cut(self, start: int, stop: int) -> "Samples":
        """The samples from `start` to `stop`, not copied."""
        labels = None if self.labels is None else self.labels[start:stop]
        return Samples({name: array[start:stop] for name, array in self.arrays.items()}, labels)


class Source(Protocol):
    """Samples that can be read again and again, the same each time."""

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def kind(self) -> str:
        """What it is, in a word."""

    @property
    def count(self) -> int | None:
        """How many samples there are; None where only reading them all tells, as for `labels` then."""

    @property
    def labels(self) -> NDArray[Any] | None:
        """The labels [count, ...], where there are any."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of it, a line each."""

    def read(self, size: int) -> Iterator[Samples]:
        """All samples in order, `size` at a time where the source is free to choose. Raises DataError."""


def rebatch(stream: Iterable[Samples], batch: int) -> Iterator[Samples]:
    """The same samples, `batch` at a time; fewer at the end, and before one whose shape differs."""
    held: list[Samples] = []
    for samples in stream:
        if held and held[0].sample_shapes != samples.sample_shapes:
            yield _join(held)
            held = []
        held.append(samples)
        total = sum(part.count for part in held)
        if total < batch:
            continue
        joined = _join(held)
        whole = total - total % batch
        for start in range(0, whole, batch):
            yield joined.cut(start, start + batch)
        held = [joined.cut(whole, total)] if whole < total else []
    if held:
        yield _join(held)


def _join(parts: list[Samples]) -> Samples:
    if len(parts) == 1:
        return parts[0]
    arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}
    labels = [part.labels for part in parts if part.labels is not None]
    return Samples(arrays, np.concatenate(labels) if len(labels) == len(parts) else None)
