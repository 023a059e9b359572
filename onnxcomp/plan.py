"""Plans: the choices of a run, written down so that another run repeats them byte for byte."""

from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onnxcomp.bound import Attempt, Bounded
from onnxcomp.calibration import Data
from onnxcomp.context import Context
from onnxcomp.errors import ModelError, UsageError
from onnxcomp.pass_api import Candidate, Declined, Pass, Proposal
from onnxcomp.pass_manager import Applied, Run
from onnxcomp.settings import Settings


class Choice(BaseModel):
    """One rewrite of a plan. `node` is the site's first output tensor, which is unique in a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: str  # the pass
    node: str
    method: str
    options: Mapping[str, Any]


class Bounds(BaseModel):
    """The bounds on accuracy that a plan was made under, by option.

    A drop of a metric of the user's own is left out: a file shall not name code to run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_error: float | None = Field(default=None, gt=0)
    min_agreement: float | None = Field(default=None, ge=0, le=100)
    max_drop: float | None = Field(default=None, ge=0, le=100)

    @classmethod
    def of(cls, settings: Settings) -> "Bounds":
        """What `settings` hold a result to."""
        return cls(
            max_error=None if settings.tolerance == inf else settings.tolerance,
            min_agreement=settings.min_agreement,
            max_drop=settings.max_drop if settings.metric is None else None,
        )

    def given(self, *, data: bool) -> dict[str, float]:
        """Those there are, by field; without data only what needs none."""
        return self.model_dump(exclude_none=True, include=None if data else {"max_error"})


class Plan(BaseModel):
    """Everything that decides the output's bytes, given the input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: Literal[1] = 1  # the version of this form
    version: str
    input_sha256: str
    passes: str
    portable: bool
    goal: Literal["latency", "size"] = "latency"
    seed: int
    data: str | None
    fitted: bool = False  # to the data: without the same the bytes are others
    bounds: Bounds = Bounds()  # a repetition is held to them too
    choices: tuple[Choice, ...]

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """From a file. UsageError where it is missing or not a plan."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise UsageError(f"--replay {path}: cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise UsageError(f"--replay {path}: not a plan of this version: {where}: {first['msg']}") from error

    def write(self, path: Path) -> None:
        """To a file, the same bytes for the same plan."""
        try:
            path.write_text(self.model_dump_json(indent=1) + "\n")
        except OSError as error:
            raise ModelError(f"--plan {path}: cannot be written: {error.strerror}") from error

    def asked_of(self, settings: Settings) -> Settings:
        """`settings` of a repetition: the plan's way, and its bounds where none are given."""
        bounds = {} if settings.bounds else self.bounds.given(data=settings.data is not None)
        return settings.model_copy(update={"portable": self.portable or settings.portable, "goal": self.goal, **bounds})

    def require_input(self, digest: str, source: Path) -> None:
        """UsageError where the plan was made for another file."""
        if digest != self.input_sha256:
            raise UsageError(
                f"--replay: the plan was made for another model than {source}; make one for it with --plan"
            )

    def require_data(self, data: Data) -> None:
        """UsageError where the choices were fitted to other data."""
        if self.fitted and data.hash != self.data:
            raise UsageError("--replay: the plan was fitted to other data; give the --data that it was made with")

    def repeated(self, attempt: Attempt) -> Bounded:
        """The plan's choices, made again. UsageError where one is not to be had."""
        run = attempt(self.choose)
        self.require_all(run)
        return Bounded(run)

    def require_all(self, run: Run) -> None:
        """UsageError where a choice of the plan found no place in `run`."""
        done = {(one.name, a.key) for one in run.passes for a in one.applied}
        for choice in self.choices:
            if (choice.by, choice.node) not in done:
                raise UsageError(f"--replay: the plan's {choice.by} of '{choice.node}' is not to be had in this model")

    def choose(self, one: Pass, _context: Context, proposals: Sequence[Proposal]) -> list[Candidate | Declined]:
        """The candidates that the plan names for the sites."""
        return [self._choose(one.name, proposal) for proposal in proposals]

    def _choose(self, name: str, proposal: Proposal) -> Candidate | Declined:
        for choice in self.choices:
            if (choice.by, choice.node) == (name, proposal.site.key):
                for candidate in proposal.candidates:
                    if (candidate.method, dict(candidate.options)) == (choice.method, dict(choice.options)):
                        return candidate
        return Declined(proposal.site.name, "not in the plan")


def choices_of(name: str, applied: Sequence[Applied]) -> list[Choice]:
    """What a pass did, as a plan's choices."""
    return [Choice(by=name, node=a.key, method=a.candidate.method, options=dict(a.candidate.options)) for a in applied]
