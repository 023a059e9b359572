"""Two models run side by side on the same inputs; of their outputs only running sums are kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from onnxcomp.calibration import Data
from onnxcomp.errors import ModelError
from onnxcomp.runtime.session import Feed, name_of, run, session
from onnxcomp.verify.output import OutputComparison, OutputErrors, Tolerance, plain

MAX_BYTES = 1 << 26  # of a reference's outputs, kept


@dataclass(frozen=True)
class Comparison:
    """Whether `b` equals `a`; `reason` is the first thing that is wrong. `inputs`: samples compared."""

    passed: bool
    reason: str | None
    inputs: int
    outputs: tuple[OutputComparison, ...]
    tolerance: Tolerance

    def to_json(self) -> dict[str, Any]:
        """The report's "verify" object. What the rewrite alone did is not known from outside: None."""
        return {
            "passed": self.passed,
            "reason": self.reason,
            "inputs": self.inputs,
            "rewrite_max_rel_error": None,
            "tolerance": {name: plain(value) for name, value in vars(self.tolerance).items()},
            "outputs": [output.to_json() for output in self.outputs],
        }


class Reference:
    """A model that others are held against, on data: what it gives is kept from the first time on, unless it is large.

    Raises ModelError where it cannot be loaded.
    """

    def __init__(
        self,
        model: str | Path | bytes,
        data: Data,
        *,
        threads: int | None = None,
        batch: int | None = None,
        library: bool = True,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._name = name_of(model)
        self._session = session(model, threads, library)
        self._data = data
        self._threads = threads
        self._batch = batch
        self._max_bytes = max_bytes
        self._kept: list[list[Any]] = []  # all outputs, batch by batch

    def compare(self, other: str | Path | bytes, tolerance: Tolerance, *, library: bool = True) -> Comparison:
        """Compare `other` on all of the data with as many threads, and with our kernels unless not `library`.

        Another interface, or failing where the reference runs, is a comparison that did not pass; a model that cannot
        be loaded, or a reference that cannot be run, is a ModelError. See `Tolerance` for what passes.
        """
        tested = session(other, self._threads, library)
        difference = _interface_difference(self._session, tested)
        if difference:
            return Comparison(False, difference, 0, (), tolerance)
        errors = [OutputErrors(output.name, tolerance) for output in self._session.get_outputs()]
        inputs = 0
        for feed, expected in self._outputs():
            try:
                found = run(tested, feed, name_of(other))
            except ModelError as error:
                return Comparison(False, str(error), inputs, (), tolerance)
            for output, x, y in zip(errors, expected, found, strict=True):
                output.add(x, y)
            inputs += len(next((array for array in feed.values() if array.ndim), [None]))
        outputs = tuple(output.result() for output in errors)
        faults = [f"output '{output.name}': {output.reason}" for output in outputs if not output.passed]
        return Comparison(not faults, faults[0] if faults else None, inputs, outputs, tolerance)

    def _outputs(self) -> Iterator[tuple[Feed, list[Any]]]:
        """Every batch with what the reference gives for it."""
        found: list[list[Any]] = []
        size = 0
        for number, feed in enumerate(self._data.batches(self._batch)):
            given = self._kept[number] if self._kept else run(self._session, feed, self._name)
            yield feed, given
            size += sum(array.nbytes for array in given if isinstance(array, np.ndarray))
            if size <= self._max_bytes:
                found.append(given)
        if size <= self._max_bytes:
            self._kept = found


def compare(
    a: str | Path | bytes,
    b: str | Path | bytes,
    data: Data,
    *,
    threads: int | None = None,
    batch: int | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    max_error: float = 1e-3,
    min_agreement: float | None = None,
    library: bool = True,
) -> Comparison:
    """Compare `b` with the reference `a` on all of `data`: see `Reference.compare`."""
    reference = Reference(a, data, threads=threads, batch=batch, library=library, max_bytes=0)
    return reference.compare(b, Tolerance(max_error, rtol, atol, min_agreement), library=library)


def _interface_difference(a: ort.InferenceSession, b: ort.InferenceSession) -> str | None:
    """The first difference in the names, order or types of inputs and outputs."""
    for kind, ours, theirs in (
        ("inputs", a.get_inputs(), b.get_inputs()),
        ("outputs", a.get_outputs(), b.get_outputs()),
    ):
        have, want = _signature(theirs), _signature(ours)
        if have != want:
            return f"different {kind}: {', '.join(want) or 'none'} against {', '.join(have) or 'none'}"
    return None


def _signature(nodes: Sequence[Any]) -> list[str]:
    return [f"'{node.name}' {node.type}" for node in nodes]
