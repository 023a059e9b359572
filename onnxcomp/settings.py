"""What a run of `optimize` was asked for."""

import shlex
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from onnxcomp.errors import UsageError

_EXACT_FIRST = "drop-identity,kronecker,fold-batchnorm,shrink{align=16},expand-lrn,penni,unify"
_FAST_LAST = "sparse-conv,sparse-gemm,unified-weight,codebook,sparse-weight"
AUTO = f"{_EXACT_FIRST},{_FAST_LAST}"
AUTO_IN_BUDGET = f"{_EXACT_FIRST},compress,shrink{{align=16}},{_FAST_LAST}"
DEFAULT_MAX_ERROR = 1e-3
_BESIDE = {"cache", "jobs", "cluster", "plan"}  # where and how it is found out, not what


class Settings(BaseModel):
    """Options of `optimize`, named as on the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)

    passes: str = "auto"
    data: Any = None
    image_size: int | None = Field(None, ge=1)
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    layout: Literal["nchw", "nhwc"] = "nchw"
    max_error: float | None = Field(None, gt=0)
    min_agreement: float | None = Field(None, ge=0, le=100)
    max_drop: float | None = Field(None, ge=0, le=100)
    metric: str | Callable[..., float] | None = None
    goal: Literal["latency", "size"] = "latency"
    target_speedup: float | None = Field(None, gt=0)
    target_size: str | None = None
    portable: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    threads: int | None = Field(None, ge=1, le=1024)
    seed: int = Field(0, ge=0)
    dry_run: bool = False
    plan: Path | None = None
    replay: Path | None = None
    require_gain: bool = False
    cache: bool = True
    jobs: int = Field(1, ge=1, le=1024)
    cluster: str | None = None

    @classmethod
    def of(cls, **options: Any) -> "Settings":
        """Checked. UsageError, one line, names the option that is wrong."""
        try:
            return cls(**options)
        except ValidationError as error:
            first = error.errors()[0]
            where = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "options"
            raise UsageError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error

    @field_validator("target_size")
    @classmethod
    def _readable_size(cls, text: str | None) -> str | None:
        if text is not None:
            _size(text, 100)
        return text

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.replay and self.passes != "auto":
            raise ValueError("--replay brings its own passes; leave --passes out")
        if self.replay and (self.include or self.exclude):
            raise ValueError("--replay brings its own choices; leave --include and --exclude out")
        if self.metric and self.max_drop is None:
            raise ValueError("--metric needs --max-drop, the drop it may show")
        return self

    @model_validator(mode="before")
    @classmethod
    def _goal_of_targets(cls, options: Any) -> Any:
        """What is asked of the size alone is about the size."""
        if options.get("goal") is None:
            size = options.get("target_size") is not None and options.get("target_speedup") is None
            return {**options, "goal": "size" if size else "latency"}
        return options

    @property
    def pipeline(self) -> str:
        """Pipeline text. With data and a budget layers may change for it."""
        if self.passes != "auto":
            return self.passes
        return AUTO_IN_BUDGET if self.data is not None and (self.bounds or self.targeted) else AUTO

    @property
    def targeted(self) -> bool:
        """Whether there is a speed or a size to come to, as far as accuracy allows, and no farther."""
        return self.target_speedup is not None or self.target_size is not None

    @property
    def bounds(self) -> dict[str, Any]:
        """What bounds approximations, by option: those that were given."""
        given = {name: getattr(self, name) for name in ("max_error", "min_agreement", "max_drop", "metric")}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def tolerance(self) -> float:
        """The relative L2 error an output may have; without end where something else decides how far to go."""
        other = self.bounds or (self.data is not None and (self.targeted or self.replay))
        return self.max_error or (inf if other else DEFAULT_MAX_ERROR)

    @property
    def bound(self) -> str:
        """The options that bound what approximations may do, as the user would write them; "" where nothing does."""
        given = {"--max-error": self.max_error, "--min-agreement": self.min_agreement, "--max-drop": self.max_drop}
        words = [f"{option} {value:g}" for option, value in given.items() if value is not None]
        return ", ".join(words) or ("" if self.tolerance == inf else f"--max-error {self.tolerance:g}")

    def command(self, source: Path, target: Path | None) -> str | None:
        """What does the same on the command line; None where what was given in Python has no text.

        Options at their defaults are left out, and so is what changes nothing in the result.
        """
        if not (isinstance(self.data, str | Path | None) and isinstance(self.metric, str | None)):
            return None
        words = ["onnxcomp", "optimize", str(source), *([] if target is None else [str(target)])]
        given = self.model_dump(exclude_defaults=True, exclude=_BESIDE)
        if target is None:
            given["dry_run"] = True
        if self.target_size is not None:
            given["goal"] = self.goal  # else it would be told by the target
        for name, value in given.items():
            option = "--" + name.replace("_", "-")
            if value is True:
                words.append(option)
            elif name in ("include", "exclude"):
                words += [word for one in value for word in (option, one)]
            elif name in ("mean", "std"):
                words.append(f"{option}={','.join(map(str, value))}")  # =: it may begin with a minus
            else:
                words += [option, str(value).removesuffix(".0") if isinstance(value, float) else str(value)]
        return shlex.join(words)

    def target_bytes(self, input_bytes: int) -> int | None:
        """`--target-size` in bytes."""
        return None if self.target_size is None else _size(self.target_size, input_bytes)


_UNITS = {"": 1, "K": 10**3, "KB": 10**3, "M": 10**6, "MB": 10**6, "G": 10**9, "GB": 10**9}


def _size(text: str, whole: int) -> int:
    digits = text.strip().rstrip("%KMGBkmgb ")
    unit = text.strip()[len(digits) :].strip().upper()
    try:
        number = float(digits)
    except ValueError:
        number = -1
    if not 0 < number < inf or (unit != "%" and unit not in _UNITS):
        raise ValueError(f"'{text}' is not a size; write bytes (800000, 2MB) or a share of the input (40%)")
    return int(number * whole / 100 if unit == "%" else number * _UNITS[unit])
