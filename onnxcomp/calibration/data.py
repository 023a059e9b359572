"""`Data`: a source of samples as a model wants to be fed, read in bounded memory as often as one likes."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.calibration.inputs import InputSpec, shared_batch
from onnxcomp.calibration.samples import Samples, Source, rebatch
from onnxcomp.errors import DataError

CHUNK = 32  # samples held at a time where nobody says otherwise


@dataclass(frozen=True)
class _Scan:
    """What one pass over everything tells."""

    count: int
    labels: NDArray[Any] | None
    hash: str
    nonfinite: dict[str, dict[str, int]]


class Data:
    """Feeds for the inputs of one model.

    Samples lie along the first dimension of every input. A model that fixes this dimension gets exactly so many; what
    is left over at the end is left out, and `notes` says so. Raises DataError, here or while reading, for whatever
    does not fit the model.
    """

    def __init__(self, source: Source, inputs: Sequence[InputSpec]) -> None:
        if not inputs:
            raise DataError(f"{source.name}: the model has no inputs to feed; leave the data out")
        self.source = source
        self.inputs = tuple(inputs)
        # A source that gives whole feeds may serve a model whose inputs are not batched alike, as long as none is cut.
        self._whole_feeds = source.count is None and not batched_alike(inputs)
        self.fixed_batch = None if self._whole_feeds else shared_batch(inputs, source.name)
        if source.count is not None:
            self._require_a_batch(source.count)

    @property
    def count(self) -> int:
        """Samples in the source, those left out included. A `module:function` is read through to know."""
        return self._scan.count if self.source.count is None else self.source.count

    @property
    def used(self) -> int:
        """Samples that `batches` gives: all, or as many as fill the model's fixed batch."""
        return self.count - self.count % self.fixed_batch if self.fixed_batch else self.count

    @property
    def labels(self) -> NDArray[Any] | None:
        """Labels of the first `used` samples, where the source has any."""
        labels = self._scan.labels if self.source.count is None else self.source.labels
        return None if labels is None else labels[: self.used]

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the samples as the model is fed them, and their labels: equal for equal content,
        whatever the file it came from. Reads everything once."""
        return self._scan.hash

    @property
    def nonfinite(self) -> dict[str, dict[str, int]]:
        """How many NaN and Inf each input holds, for inputs that hold any. Reads everything once."""
        return self._scan.nonfinite

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know, a line each."""
        left_out = self.count - self.used
        notes = list(self.source.notes)
        if left_out:
            notes.append(f"the last {left_out} of {self.count} samples are left out: the model's batch is {self.fixed_batch}")
        for name, found in self.nonfinite.items():
            notes.append(f"input '{name}' holds {found['nan']} NaN and {found['inf']} Inf")
        return tuple(notes)

    def batches(self, batch: int | None = None) -> Iterator[dict[str, NDArray[Any]]]:
        """All samples in order, `batch` at a time (fewer at the end).

        None takes what the source gives. A model of fixed batch gets that one, whatever is asked.
        """
        size = self.fixed_batch or batch
        if size is None:
            yield from (samples.arrays for samples in self._read(None))
            return
        if size < 1:
            raise DataError(f"a batch of {size} was asked for; give at least 1")
        if self._whole_feeds:
            shared_batch(self.inputs, self.source.name)  # says why it cannot be
        left_out = 0
        for samples in rebatch(self._read(size), size):
            if left_out:
                raise DataError(f"{self.source.name}: samples change their shape within a batch of {size}; yield whole ones")
            if self.fixed_batch and samples.count < size:
                left_out = samples.count
            else:
                yield samples.arrays

    def _read(self, size: int | None) -> Iterator[Samples]:
        """Samples as the source chunks them, checked and in the model's types."""
        where, total = self.source.name, 0
        for arrays, labels in self.source.read(size):
            missing = [spec.name for spec in self.inputs if spec.name not in arrays]
            if missing:
                raise DataError(f"{where}: input '{missing[0]}' is missing, it has {', '.join(arrays)}; name it so")
            samples = Samples({spec.name: spec.fit(arrays[spec.name], where) for spec in self.inputs}, labels)
            if not self._whole_feeds:
                samples.require_equal_lengths(where)
            total += samples.count
            yield samples
        self._require_a_batch(total)

    def _require_a_batch(self, count: int) -> None:
        if count == 0:
            raise DataError(f"{self.source.name}: it has no samples; give at least one")
        if self.fixed_batch and count < self.fixed_batch:
            raise DataError(
                f"{self.source.name}: {count} samples do not fill the model's fixed batch of {self.fixed_batch}; give more"
            )

    @cached_property
    def _scan(self) -> _Scan:
        digests = {spec.name: hashlib.sha256(str(spec.dtype).encode()) for spec in self.inputs}
        shapes: list[tuple[int, ...]] = []
        nonfinite = {spec.name: {"nan": 0, "inf": 0} for spec in self.inputs}
        labels: list[NDArray[Any]] = []
        count = 0
        for samples in self._read(CHUNK):
            count += samples.count
            if samples.labels is not None:
                labels.append(samples.labels)
            for name, array in samples.arrays.items():
                if samples.sample_shapes != shapes:
                    digests[name].update(str(array.shape[1:]).encode())
                digests[name].update(np.ascontiguousarray(array).data)
                if array.dtype.kind == "f":
                    nonfinite[name]["nan"] += int(np.isnan(array).sum())
                    nonfinite[name]["inf"] += int(np.isinf(array).sum())
            shapes = samples.sample_shapes
        ...

    def describe(self) -> dict[str, Any]:
        """What the data is, for a report. Reads everything once."""
        return {
            "source": self.source.name,
            "kind": self.source.kind,
            "inputs": {spec.name: str(spec) for spec in self.inputs},
            "count": self.count,
            "used": self.used,
            "labels": self.labels is not None,
            "hash": self.hash,
            "nonfinite": self.nonfinite,
            "notes": list(self.notes),
        }
