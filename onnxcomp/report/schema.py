"""The report as JSON, schema 1. Keys keep their names and meaning; new ones may be added."""

from typing import Any

from pydantic import BaseModel, ConfigDict

SCHEMA = 1


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True)


class FileSection(_Section):
    """A model file. `parameters` are the numbers stored, `macs` the multiply-adds done for one call of the feed.

    `path` is None where nothing was written.
    """

    path: str | None
    bytes: int
    parameters: int
    nonzero: int
    macs: int
    opset: int
    ir: int


class HostSection(_Section):
    """Where it was measured."""

    cpu: str
    isa: str
    threads: int
    onnxruntime: str


class LayerSection(_Section):
    """A layer with weights: what was done to it, or why nothing was (`reasons`). Pairs are (before, after).

    `predicted_ms`: by the cost model, of the fastest candidate whether it was taken or not; None where there is none,
    or no profile of the machine.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    method: str
    options: dict[str, Any]
    reason: str | None
    reasons: tuple[str, ...]
    error: float | None
    parameters: tuple[int, int]
    bytes: tuple[int, int]
    macs: tuple[int | None, int | None]
    ms: tuple[float | None, float | None]
    predicted_ms: tuple[float, float] | None


class DeclinedSection(_Section):
    """A node that a pass left alone."""

    node: str
    reason: str


class PassSection(_Section):
    """What one pass did."""

    name: str
    options: dict[str, Any]
    seconds: float
    changed: int
    declined: tuple[DeclinedSection, ...]
    removed: tuple[str, ...]


class LatencySection(_Section):
    """The whole network, interleaved; `speedup` is the median of the ratios round by round. None: nothing changed."""

    before_ms: float | None
    after_ms: float | None
    speedup: float
    batch: int
    threads: int


class Report(_Section):
    """Everything a run has to say."""

    schema_: int = SCHEMA
    version: str
    exit: int
    input: FileSection
    output: FileSection
    host: HostSection
    data: dict[str, Any] | None
    layers: tuple[LayerSection, ...]
    passes: tuple[PassSection, ...]
    verify: dict[str, Any]
    latency: LatencySection
    missed: tuple[str, ...]  # of the budget
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values under the contract's keys."""
        values = self.model_dump(mode="json")
        return {"schema": values.pop("schema_"), **values}
