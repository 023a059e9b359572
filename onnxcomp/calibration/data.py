"""`Data`: a source of samples as a model wants to be fed, read in bounded memory as often as one likes."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol

from numpy.typing import NDArray

from onnxcomp.calibration.inputs import InputSpec, batched_alike, shared_batch
from onnxcomp.calibration.samples import Samples, Source, rebatch
from onnxcomp.calibration.scan import Scan, scan
from onnxcomp.errors import DataError

CHUNK = 8  # samples held, and run, at a time where nobody says otherwise: more take as long


class Batches(Protocol):
    """What gives feeds, a number of samples at a time."""

    def batches(self, batch: int | None = None) -> Iterator[dict[str, NDArray[Any]]]:
        """See `Data.batches`."""


class Data:
    """Feeds for the inputs of one model.

    Samples lie along the first dimension of every input. A model that fixes this dimension gets exactly so many; what
    is left over at the end is left out, and `notes` says so. Raises DataError, here or while reading, for whatever
    does not fit the model. `count`, `hash` and what follows from them may read everything once.
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
        """Samples in the source, those left out included."""
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
        """SHA-256 (hex) of the samples as the model is fed them: equal content, equal hash, whatever the container."""
        return self._scan.sha256

    @property
    def nonfinite(self) -> dict[str, dict[str, int]]:
        """How many "nan" and "inf" each input holds, for inputs that hold any."""
        return self._scan.nonfinite

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know, a line each."""
        notes = list(self.source.notes)
        if self.used < self.count:
            left_out = self.count - self.used
            notes.append(f"the last {left_out} of {self.count} samples are left out: the batch is {self.fixed_batch}")
        notes += [f"input '{name}' holds {n['nan']} NaN and {n['inf']} Inf" for name, n in self.nonfinite.items()]
        return tuple(notes)

    def one(self) -> dict[str, NDArray[Any]]:
        """What one call is fed: the first sample, the first fixed batch, or the first whole feed."""
        return next(self.batches(None if self._whole_feeds else 1))

    def batches(self, batch: int | None = None) -> Iterator[dict[str, NDArray[Any]]]:
        """All samples in order, `batch` at a time, fewer at the end; None takes them as the source gives them.

        A model of fixed batch gets that one, whatever is asked.
        """
        size = self.fixed_batch or batch
        if size is None:
            yield from (samples.arrays for samples in self._read(None))
            return
        if size < 1:
            raise DataError(f"a batch of {size} was asked for; give at least 1")
        if self._whole_feeds:
            shared_batch(self.inputs, self.source.name)  # raises, saying why they cannot be cut
        left_out = False
        for samples in rebatch(self._read(size), size):
            if left_out:
                raise DataError(
                    f"{self.source.name}: samples change their shape within a batch of {size}; give them apart"
                )
            left_out = self.fixed_batch is not None and samples.count < size
            if not left_out:
                yield samples.arrays

    def check(self) -> None:
        """Read the first sample. Raises DataError where it does not fit, before anybody has waited for anything."""
        for _ in self._read(1):
            return

    def describe(self) -> dict[str, Any]:
        """What the data is, for a report."""
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

    @cached_property
    def _scan(self) -> Scan:
        return scan(self._read(None if self._whole_feeds else CHUNK), self.source.name)

    def _read(self, size: int | None) -> Iterator[Samples]:
        """Samples as the source cuts them, checked and in the model's types."""
        where, total = self.source.name, 0
        for given in self.source.read(size or CHUNK):
            arrays = given.arrays
            missing = [spec.name for spec in self.inputs if spec.name not in arrays]
            if missing:
                raise DataError(
                    f"{where}: nothing for input '{missing[0]}', only {', '.join(arrays)}; name arrays as inputs"
                )
            samples = Samples({spec.name: spec.fit(arrays[spec.name], where) for spec in self.inputs}, given.labels)
            if not self._whole_feeds:
                samples.require_equal_lengths(where)
            total += samples.count
            yield samples
        self._require_a_batch(total)

    def _require_a_batch(self, count: int) -> None:
        name, fixed = self.source.name, self.fixed_batch
        if count == 0:
            raise DataError(f"{name}: it holds no samples; give at least one")
        if fixed and count < fixed:
            raise DataError(f"{name}: {count} samples do not fill the model's fixed batch of {fixed}; give more")
