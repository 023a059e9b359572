"""What each command does, from its options to a result; `cli` reads the options and prints the result."""

from collections.abc import Sequence
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from onnxcomp import pipeline
from onnxcomp import verify as verification
from onnxcomp.bench import BenchResult
from onnxcomp.bench import bench as run_bench
from onnxcomp.calibration import Data, data_for
from onnxcomp.catalogue import installed
from onnxcomp.context import Context
from onnxcomp.cost.host_profile import HostProfile, profile_host
from onnxcomp.cost.profile_cache import keep_profile, kept_profile, profile_path
from onnxcomp.errors import UsageError
from onnxcomp.inspection import Inspection, inspect_model
from onnxcomp.model import Model
from onnxcomp.pass_api import Pass, Progress
from onnxcomp.pipeline import Result, open_for
from onnxcomp.quantized import CALIBRATION_SAMPLES
from onnxcomp.report.document import check_path, write_bench, write_comparison, write_inspection, write_report
from onnxcomp.report.plots import check_plot, plot_host
from onnxcomp.report.schema import Report
from onnxcomp.runtime.session import library_path, session
from onnxcomp.settings import DEFAULT_MAX_ERROR, Settings

_LOOK = ("image_size", "mean", "std", "layout")


def optimize(source: Path, target: Path | None, *, report: Path | None, progress: Progress, **options: Any) -> Result:
    """Optimize `source` into `target`; see `pipeline.optimize`."""
    check_path(report)
    result = pipeline.optimize(source, target, progress=progress, **options)
    if report is not None:
        write_report(result.report, report)
    return result


def report(source: Path, target: Path) -> None:
    """Write the report that `optimize --json` wrote to `source` as a document."""
    check_path(target)
    found = Report.read(source)
    try:
        write_report(found, target)
    except (ArithmeticError, TypeError, ValueError) as error:  # of figures that no run of ours would give
        raise UsageError(f"{source}: cannot be shown: {error}") from error


def inspect(source: Path, *, report: Path | None = None, **options: Any) -> Inspection:
    """The layers of `source` and what could apply to them."""
    check_path(report)
    settings = Settings.of(**options)
    model = Model.load(source)
    data = open_for(model, source, settings)
    found = inspect_model(model, Context.on_data(model, data, settings.threads, settings.seed), source)
    if report is not None:
        write_inspection(found, report)
    return found


def verify(
    a: Path,
    b: Path,
    *,
    max_error: float | None,
    min_agreement: float | None,
    rtol: float | None,
    atol: float | None,
    batch: int | None,
    report: Path | None = None,
    **options: Any,
) -> verification.Comparison:
    """Compare `b` with `a` on the data, or on seeded inputs. The library is used where a model needs it.

    `min_agreement`, per cent, is instead of the bound on the error that holds by default.
    """
    check_path(report)
    for path in (a, b):
        Model.load(path)  # our messages for a bad file, not the runtime's
    data, threads = _data(a, options, batch or 1), options["threads"]
    other = inf if min_agreement is not None else DEFAULT_MAX_ERROR
    tolerance: dict[str, Any] = {
        "max_error": other if max_error is None else max_error,
        "min_agreement": None if min_agreement is None else min_agreement / 100,
        "rtol": rtol,
        "atol": atol,
    }
    found = verification.compare(a, b, data, threads=threads, batch=batch, **tolerance)
    if report is not None:
        write_comparison(found, a, b, report)
    return found


def bench(
    models: Sequence[Path],
    *,
    batch: int,
    seconds: float,
    int8: bool,
    layers: bool,
    progress: Progress,
    report: Path | None = None,
    **options: Any,
) -> BenchResult:
    """Time `models` against the first; `int8` and `layers` as `bench.bench` has them."""
    check_path(report)
    for path in models:
        Model.load(path)
    tell, threads = partial(_tell, progress), options["threads"]
    data = _data(models[0], options, batch, max(batch, CALIBRATION_SAMPLES) if int8 else None)
    found = run_bench(
        models, data, batch=batch, threads=threads, seconds=seconds, int8=int8, layers=layers, progress=tell
    )
    if report is not None:
        write_bench(found, report)
    return found


def passes() -> dict[str, Any]:
    """Every installed pass: what it does, its options, their defaults and what they mean."""
    return {"schema": 1, "passes": [_describe(kind) for kind in installed().values()]}


def host(
    threads: int | None, *, refresh: bool, plot: Path | None, progress: Progress
) -> tuple[HostProfile, str | None]:
    """This machine's profile, measured where none is kept, and what there is to know of where it is kept."""
    check_plot(plot)
    profile = None if refresh else kept_profile(threads)
    note: str | None = f"measured earlier, {profile_path(threads)}; --refresh measures anew"
    if profile is None:
        profile = profile_host(threads, lambda done, total, what: progress(what, done, total))
        note = keep_profile(profile, threads)
    if plot is not None:
        plot_host(profile, plot)
    return profile, note


def library() -> Path:
    """Where the extension library is."""
    return library_path()


def _data(path: Path, options: dict[str, Any], batch: int, count: int | None = None) -> Data:
    look = {key: options[key] for key in _LOOK} if options["data"] else {}
    loaded = session(path, options["threads"])
    return data_for(loaded, options["data"], batch=batch, count=count, seed=options["seed"], **look)


def _tell(progress: Progress, what: str) -> None:
    progress(what, 0, 0)


def _describe(kind: type[Pass]) -> dict[str, Any]:
    options = [
        {
            "name": name,
            "type": _type_name(field.annotation),
            "default": _default(field),
            "required": field.is_required(),
            "description": field.description,
        }
        for name, field in kind.Options.model_fields.items()
    ]
    return {"name": kind.name, "summary": kind.summary, "portable": kind.portable, "options": options}


def _default(field: FieldInfo) -> Any:
    """As JSON has it; None for an option that must be given."""
    return None if field.is_required() else to_jsonable_python(field.get_default(call_default_factory=True))


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).removeprefix("typing.")
