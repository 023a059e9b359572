"""Which candidate goes where.

Candidates carry their cost, measured on this machine; one that does not pay is declined with the figures. A dense Conv in
ONNX Runtime works on a blocked layout, so a sparse operator between dense neighbours adds a conversion at each border:
whether a layer pays depends on its neighbours. Several answers are therefore tried on the whole network and the fastest is
kept: `cheapest` counts no border (right where neighbours turn sparse too), `cautious` counts both. `unhurried` is the
answer where neither makes the network faster.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from onnxcomp.errors import ModelError, UsageError
from onnxcomp.pass_manager import Applied, Candidate, Declined, Site

WORTHWHILE = 0.95  # share of the dense time that a candidate must stay under: timings repeat to about 5 %


def cheapest(_name: str, site: Site, candidates: Sequence[Candidate]) -> Candidate | Declined:
    """The fastest candidate that beats what stands there, borders not counted."""
    return _choose(site, candidates, border_share=0.0)


def cautious(_name: str, site: Site, candidates: Sequence[Candidate]) -> Candidate | Declined:
    """The fastest candidate that beats what stands there even between two dense neighbours."""
    return _choose(site, candidates, border_share=1.0)


def unhurried(_name: str, site: Site, candidates: Sequence[Candidate]) -> Candidate | Declined:
    """Only what cannot be slower by construction: the answer left where no measured choice pays in the whole network."""
    free = [candidate for candidate in candidates if candidate.timing is None]
    return free[0] if free else Declined(site.name, f"{candidates[0].method} does not pay in the network as a whole")


def _choose(site: Site, candidates: Sequence[Candidate], border_share: float) -> Candidate | Declined:
    def cost_ms(candidate: Candidate) -> float:
        timing = candidate.timing
        return 0.0 if timing is None else timing.after_ms + border_share * timing.border_ms

    best = min(candidates, key=cost_ms)
    if best.timing is None or cost_ms(best) < WORTHWHILE * best.timing.before_ms:
        return best
    borders = f", {best.timing.border_ms:.3f} ms of them at dense borders" if border_share else ""
    return Declined(
        site.name, f"{best.method} takes {cost_ms(best):.3f} ms{borders}, the dense node {best.timing.before_ms:.3f} ms"
    )


class Choice(BaseModel):
    """One rewrite of a plan. `node` is the site's first output tensor, which is unique in a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pass_: str
    node: str
    method: str
    options: Mapping[str, Any]


class Plan(BaseModel):
    """Everything that decides the output's bytes, given the input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: int = 1
    version: str
    input_sha256: str
    passes: str
    portable: bool
    seed: int
    data: str | None
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

    def choose(self, name: str, site: Site, candidates: Sequence[Candidate]) -> Candidate | Declined:
        """The candidate the plan names for the site."""
        for choice in self.choices:
            if (choice.pass_, choice.node) == (name, site.key):
                for candidate in candidates:
                    if (candidate.method, dict(candidate.options)) == (choice.method, dict(choice.options)):
                        return candidate
        return Declined(site.name, "not in the plan")


def choices_of(name: str, applied: Sequence[Applied]) -> list[Choice]:
    """What a pass did, as a plan's choices."""
    return [
        Choice(pass_=name, node=a.key, method=a.candidate.method, options=dict(a.candidate.options)) for a in applied
    ]
