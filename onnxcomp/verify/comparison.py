"""Two models run side by side on the same inputs; of their outputs only running sums are kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from onnxcomp.calibration import Data
from onnxcomp.errors import ModelError
from onnxcomp.runtime.session import name_of, run, session
from onnxcomp.verify.output import OutputComparison, OutputErrors, Tolerance


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
            "tolerance": vars(self.tolerance),
            "outputs": [output.to_json() for output in self.outputs],
        }


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
    library: bool = True,
) -> Comparison:
    """Compare `b` with the reference `a` on all of `data`, both with `threads` and, where `library`, our kernels.

    Another interface, or failing where the reference runs, is a comparison that did not pass; a model that cannot be
    loaded, or a reference that cannot be run, is a ModelError. See `Tolerance` for what passes.
    """
    tolerance = Tolerance(max_error, rtol, atol)
    reference, other = (session(model, threads, library) for model in (a, b))
    difference = _interface_difference(reference, other)
    if difference:
        return Comparison(False, difference, 0, (), tolerance)
    errors = [OutputErrors(output.name, tolerance) for output in reference.get_outputs()]
    inputs = 0
    for feed in data.batches(batch):
        expected = run(reference, feed, name_of(a))
        try:
            found = run(other, feed, name_of(b))
        except ModelError as error:
            return Comparison(False, str(error), inputs, (), tolerance)
        for output, x, y in zip(errors, expected, found, strict=True):
            output.add(x, y)
        inputs += len(next((array for array in feed.values() if array.ndim), [None]))
    outputs = tuple(output.result() for output in errors)
    faults = [f"output '{output.name}': {output.reason}" for output in outputs if not output.passed]
    return Comparison(not faults, faults[0] if faults else None, inputs, outputs, tolerance)


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
