"""The command line: options in, tables or JSON out, exit codes as documented in README.md."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from onnxcomp import commands
from onnxcomp.errors import BudgetMissed, OnnxcompError, UsageError
from onnxcomp.fleet import Job, jobs_of, make_folder
from onnxcomp.report import tables
from onnxcomp.report.schema import Report
from onnxcomp.report.text import plain
from onnxcomp.version import VERSION
from onnxcomp.workers import processes_here

_FILE = click.Path(path_type=Path)


class _OneLineErrors(click.Group):
    """Turns every failure into one line on stderr and its exit code."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except click.exceptions.Abort:
            _fail("interrupted", 130)
        except click.ClickException as error:
            _fail(error.format_message(), 2)
        except OnnxcompError as error:
            _fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            _fail("interrupted", 130)
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output has gone; there is nobody to tell
            sys.exit(0)
        except Exception as error:  # noqa: BLE001 - the last resort: a user never sees a traceback
            _fail(f"internal error, please report it: {type(error).__name__}: {error}", 1)
        sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    _say(message)
    sys.exit(code)


def _complain(error: OnnxcompError) -> int:
    """One line on stderr, and the exit code."""
    _say(str(error))
    return error.exit_code


def _say(message: str) -> None:
    click.echo("onnxcomp: " + plain(" ".join(message.split())), err=True)


@click.group(cls=_OneLineErrors, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="onnxcomp")
def main() -> None:
    """Make convolutional networks in ONNX smaller and faster in ONNX Runtime, with proof."""


class _Finite(click.FloatRange):
    """A number that is neither NaN nor infinite: those pass a range's bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def _writable(_context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """A file to write: its folder is looked for before the work is done, not after."""
    if path is not None and not path.parent.is_dir():
        raise UsageError(f"{option.opts[0]} {path}: there is no folder {path.parent}; create it first")
    return path


def _data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(
        (
            click.option("--data", metavar="SOURCE", help=".npz, .npy, folder of images, or module:function."),
            click.option("--image-size", type=click.IntRange(1), help="Images: side to resize to."),
            click.option("--mean", metavar="R,G,B", callback=_numbers, help="Images: subtracted, 0..255 scale."),
            click.option("--std", metavar="R,G,B", callback=_numbers, help="Images: divided by, after --mean."),
            click.option("--layout", type=click.Choice(["nchw", "nhwc"]), default="nchw", show_default=True),
            click.option("--threads", type=click.IntRange(1), help="Of ONNX Runtime. [default: physical cores]"),
            click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of random inputs."),
            click.option(
                "--json",
                "json_path",
                type=_FILE,
                callback=_writable,
                metavar="FILE",
                help="Also write the result as JSON.",
            ),
            click.option("--quiet", is_flag=True, help="Print nothing but errors."),
        )
    ):
        command = option(command)
    return command


def _numbers(_context: click.Context, option: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--{option.name}: '{text}' is not a list of numbers such as 123.7,116.3,103.5") from error


def _write_json(path: Path | None, value: Any) -> None:
    if path is None:
        return
    try:
        path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        raise UsageError(f"--json {path}: cannot be written: {error.strerror}") from error


_REPORT = click.option("--report", type=_FILE, metavar="FILE.html|.md", help="Also write it for people to read.")


@main.command()
@click.argument("paths", metavar="IN.onnx OUT.onnx | IN... FOLDER", nargs=-1, required=True, type=_FILE)
@click.option(
    "--passes",
    default="auto",
    show_default=True,
    metavar="PIPELINE",
    help="Such as fold-batchnorm,sparse-conv{when=always}.",
)
@click.option("--max-error", type=float, metavar="E", help="Relative L2 error of the outputs. [default: 0.001]")
@click.option("--min-agreement", type=float, metavar="PCT", help="Inputs whose argmax must stay the same.")
@click.option("--max-drop", type=float, metavar="PCT", help="Points of top-1 (or --metric) that may be lost.")
@click.option("--metric", metavar="MODULE:FUNCTION", help="Of (outputs, labels), in points, larger is better.")
@click.option(
    "--goal",
    type=click.Choice(["latency", "size"]),
    help="What is to become less. [default: latency; size where --target-size stands alone]",
)
@click.option("--target-speedup", type=float, metavar="X", help="Give up accuracy on --data until it is so fast.")
@click.option("--target-size", metavar="BYTES|X%", help="Give up accuracy on --data until it is so small.")
@click.option("--portable", is_flag=True, help="Standard operators only.")
@click.option("--include", multiple=True, metavar="REGEX", help="Touch only nodes whose name matches.")
@click.option("--exclude", multiple=True, metavar="REGEX", help="Leave nodes whose name matches alone.")
@click.option("--dry-run", is_flag=True, help="Do everything but write OUT.")
@click.option("--plan", type=_FILE, callback=_writable, metavar="FILE", help="Write the choices made.")
@click.option("--replay", type=_FILE, metavar="FILE", help="Make the choices of a plan.")
@click.option("--jobs", type=click.IntRange(1), help="Processes that weigh candidates. [default: one a core]")
@click.option("--cluster", metavar="tcp://HOST:PORT", help="A Dask cluster that weighs candidates instead.")
@click.option("--cache/--no-cache", default=True, help="Use, and keep, what was found out earlier. [default: --cache]")
@click.option("--require-gain", is_flag=True, help="Exit with 5 where nothing was worth doing.")
@_REPORT
@_data_options
def optimize(paths: tuple[Path, ...], json_path: Path | None, quiet: bool, report: Path | None, **options: Any) -> int:
    """Compress IN.onnx, prove it equal, write OUT.onnx and report.

    Of several models, or all those in a folder, each result goes to FOLDER; the exit code is that of the first that
    does not end with 0.
    """
    options["jobs"] = options["jobs"] or processes_here()
    work = jobs_of(paths, dry_run=options["dry_run"])
    if len(work) == 1:
        found = _optimize(work[0], quiet, report, options)
        _write_json(json_path, found.to_json())
        _require_budget(work[0], found)
        return 0
    for name, value in {"plan": options["plan"], "replay": options["replay"], "report": report}.items():
        if value is not None:
            raise UsageError(f"--{name} is for one model at a time, and these are {len(work)}")
    return _optimize_all(work, json_path, quiet, options)


def _optimize(job: Job, quiet: bool, report: Path | None, options: dict[str, Any]) -> Report:
    """One model, and its table."""
    if not options["dry_run"]:
        make_folder(job)
    with tables.progress(quiet) as tell:
        found = commands.optimize(job.source, job.target, report=report, progress=tell, **options).report
    if not quiet:
        tables.print_report(found, None if options["dry_run"] else job.target)
    return found


def _optimize_all(work: Sequence[Job], json_path: Path | None, quiet: bool, options: dict[str, Any]) -> int:
    """One after the other, each whatever became of those before it; the first code that is not 0."""
    entries: list[dict[str, Any]] = []
    codes = []
    for job in work:
        try:
            found = _optimize(job, quiet, None, options)
        except OnnxcompError as error:
            entries.append(
                {"schema": 1, "exit": error.exit_code, "input": {"path": str(job.source)}, "error": str(error)}
            )
            codes.append(_complain(error))
            continue
        entries.append(found.to_json())
        try:
            _require_budget(job, found)
        except BudgetMissed as error:
            codes.append(_complain(error))
    _write_json(json_path, {"schema": 1, "models": entries})
    return next(iter(codes), 0)


def _require_budget(job: Job, found: Report) -> None:
    if found.missed:
        kept = "the best so far was saved" if found.output.path else "nothing was written"
        raise BudgetMissed(f"{job.source}: {'; '.join(found.missed)}; {kept}")


@main.command()
@click.argument("source", metavar="IN.onnx", type=_FILE)
@_REPORT
@_data_options
def inspect(source: Path, json_path: Path | None, quiet: bool, **options: Any) -> None:
    """List the layers: shape, multiply-adds, parameters, zeros, structure, what could apply."""
    layers = commands.inspect(source, **options)
    _write_json(json_path, layers.to_json())
    if not quiet:
        tables.print_inspection(layers)


@main.command()
@click.argument("a", metavar="A.onnx", type=_FILE)
@click.argument("b", metavar="B.onnx", type=_FILE)
@click.option("--max-error", type=_Finite(0), metavar="E", help="Relative L2 error of an output. [default: 0.001]")
@click.option(
    "--min-agreement", type=click.FloatRange(0, 100), metavar="PCT", help="Inputs whose argmax must be the same."
)
@click.option("--rtol", type=_Finite(0), metavar="R", help="Hold every element to ATOL + R * abs(a) instead.")
@click.option("--atol", type=_Finite(0), metavar="A")
@click.option("--batch", type=click.IntRange(1))
@_REPORT
@_data_options
def verify(a: Path, b: Path, json_path: Path | None, quiet: bool, **options: Any) -> int:
    """Are A and B equal? Errors per output."""
    comparison = commands.verify(a, b, **options)
    _write_json(json_path, comparison.to_json())
    if not quiet:
        tables.print_comparison(comparison)
    return 0 if comparison.passed else 4


@main.command()
@click.argument("models", metavar="A.onnx [B.onnx ...]", nargs=-1, required=True, type=_FILE)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True)
@click.option("--seconds", type=_Finite(0, min_open=True), default=5.0, show_default=True, help="Spent measuring.")
@click.option("--int8", is_flag=True, help="Set A, quantised by ONNX Runtime, beside them.")
@click.option("--layers", is_flag=True, help="Also time every layer, by ONNX Runtime's profiler.")
@_REPORT
@_data_options
def bench(models: tuple[Path, ...], json_path: Path | None, quiet: bool, **options: Any) -> None:
    """Time models against each other, interleaved."""
    with tables.progress(quiet) as tell:
        result = commands.bench(models, progress=tell, **options)
    _write_json(json_path, result.to_json())
    if not quiet:
        tables.print_bench(result)


@main.command()
@click.argument("source", metavar="REPORT.json", type=_FILE)
@click.option("-o", "--output", "target", type=_FILE, required=True, metavar="FILE.html|.md", help="What to write.")
def report(source: Path, target: Path) -> None:
    """Turn what optimize --json wrote into a page or Markdown."""
    commands.report(source, target)


@main.command()
@click.option("--json", "json_path", type=_FILE, callback=_writable, metavar="FILE")
def passes(json_path: Path | None) -> None:
    """List every installed pass with its options and their defaults."""
    listing = commands.passes()
    _write_json(json_path, listing)
    tables.print_passes(listing)


@main.command()
@click.option("--threads", type=click.IntRange(1), help="Of ONNX Runtime. [default: physical cores]")
@click.option("--refresh", is_flag=True, help="Measure anew what was measured earlier.")
@click.option("--plot", type=_FILE, metavar="FILE.png|.svg", help="Draw the break-even sparsities.")
@click.option("--json", "json_path", type=_FILE, callback=_writable, metavar="FILE")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def host(threads: int | None, refresh: bool, plot: Path | None, json_path: Path | None, quiet: bool) -> None:
    """Measure what this CPU can do: peak, bandwidths, break-even sparsity. Kept until something changes."""
    with tables.progress(quiet) as tell:
        profile, note = commands.host(threads, refresh=refresh, plot=plot, progress=tell)
    _write_json(json_path, profile.to_json())
    if not quiet:
        tables.print_host(profile, note)


@main.command()
def library() -> None:
    """Print the path of the extension library."""
    click.echo(commands.library())
