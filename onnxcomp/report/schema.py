"""The report as JSON, schema 1. Keys keep their names and meaning; new ones may be added."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from onnxcomp.errors import UsageError

SCHEMA: Literal[1] = 1


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


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

    `error` is the relative L2 error of the weight, `output_error` of the layer's output on the data, `network_change`
    what the layer alone does to the network's outputs (docs/compress.md); the latter are None where nothing was fitted.
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
    output_error: float | None = None
    network_change: float | None = None
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


class OutputDict(TypedDict):
    """One output, result against input, by its worst; see verify/output.py. None where a measure does not apply."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    name: str
    max_abs: float | None
    mean_abs: float | None
    rel_l2: float | None
    cosine: float | None
    argmax_agreement: float | None


class VerifyDict(TypedDict):
    """The comparison of all outputs on `inputs` samples; the largest relative L2 error of a rewrite by itself."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    passed: bool
    inputs: int
    rewrite_max_rel_error: float | None
    outputs: list[OutputDict]


class DataDict(TypedDict):
    """What was given as data: `used` of `count` samples."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    source: str
    kind: str
    count: int
    used: int
    labels: bool


class LatencySection(_Section):
    """The whole network, interleaved; `speedup` is the median of the ratios round by round. None: nothing changed."""

    before_ms: float | None
    after_ms: float | None
    speedup: float
    batch: int
    threads: int


class BudgetSection(_Section):
    """A bound or a target: the option that asks for it, in its unit. `measured` is None where it is not a number.

    `used` is the share of what a bound allows, None for targets and where it is without end.
    """

    option: str
    asked: float
    measured: float | None
    used: float | None
    met: bool


class FrontSection(_Section):
    """The choice for all layers at a place of the dial: its cost as a share of the dense layers', its expected loss."""

    share: float
    cost: float
    loss: float


class TrialSection(_Section):
    """A choice that was fitted and measured as a whole network.

    `used` is the share of the bound on accuracy (over one it is missed; None: without end), `reached` that of the
    targets, `change` what was measured of the network's outputs (None where the bound was missed), `loss` what the
    choice was made by: what layers do to the network's outputs ("network"), or to their own ("layer").
    """

    share: float
    loss: str
    used: float | None
    reached: float
    change: float | None
    holds: bool
    seconds: float
    chosen: bool


class SearchSection(_Section):
    """What a pass with a budget chose from, by layers' own costs (in `unit`) and losses, and the choices it tried."""

    bound: str
    unit: str
    front: tuple[FrontSection, ...]
    trials: tuple[TrialSection, ...]


class Report(_Section):
    """Everything a run has to say. `command` is None where what was given in Python has no text."""

    schema_: Literal[1] = Field(alias="schema")
    version: str
    exit: int
    input: FileSection
    output: FileSection
    host: HostSection
    data: DataDict | None
    layers: tuple[LayerSection, ...]
    passes: tuple[PassSection, ...]
    verify: VerifyDict
    latency: LatencySection
    budget: tuple[BudgetSection, ...] = ()
    search: SearchSection | None = None
    command: str | None = None
    plan: dict[str, Any] | None = None
    missed: tuple[str, ...]  # of the budget
    notes: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Report":
        """From what `optimize --json` wrote. UsageError where it is missing or something else."""
        try:
            return cls.model_validate_json(path.read_bytes(), strict=True)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
            raise UsageError(f"{path}: not what optimize --json writes, schema {SCHEMA}: {what}") from error

    def to_json(self) -> dict[str, Any]:
        """As plain values under the contract's keys."""
        return self.model_dump(mode="json", by_alias=True)
