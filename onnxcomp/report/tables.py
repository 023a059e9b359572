"""What a person reads in the terminal: tables that fit, plain text where the output is piped."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from onnxcomp.bench import BenchResult, ModelBench
from onnxcomp.bound import SEARCH
from onnxcomp.cost.host_profile import HostProfile
from onnxcomp.cost.layer_times import LayerTimes, Row
from onnxcomp.inspection import Inspection
from onnxcomp.pass_api import Progress as Tell
from onnxcomp.report.page import bench_name
from onnxcomp.report.schema import Report
from onnxcomp.report.text import count, pair, plain, size, summary
from onnxcomp.verify import Comparison

_PIPED_WIDTH = 160  # of a line where nobody's terminal sets one


def _console() -> Console:
    """Prints text as it is: names and descriptions from models and plug-ins are no markup."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    return console


class _TimeLeft(TimeRemainingColumn):
    """Says what it is, and nothing where it is not known."""

    def render(self, task: Task) -> Text:
        """Such as "0:01:20 left"."""
        known = task.time_remaining is not None and not task.finished
        return Text(f"{super().render(task)} left", "cyan") if known else Text()


@contextmanager
def progress(quiet: bool) -> Iterator[Tell]:
    """Progress bars on a terminal, nothing elsewhere; gives the function to report progress to.

    A search that runs all passes several times has a bar above that of the stage within. The time left is that stage's,
    by the pace of its latest steps; it is left open until two are done.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _stage, _done, _total: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        _TimeLeft(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        search = bar.add_task(SEARCH, total=None, visible=False)
        task = bar.add_task("load", total=None)

        def tell(stage: str, done: int, total: int) -> None:
            one = search if stage == SEARCH else task
            if bar.tasks[one].description != stage:
                bar.reset(one, total=total or None, description=stage, visible=True)  # another stage, another pace
            bar.update(one, completed=done, total=total or None, visible=True)

        yield tell


def print_report(report: Report, target: Path | None) -> None:
    """What was done to which layer, what a user should know, and one line that says what was won."""
    console = _console()
    console.print(_layer_table(report))
    for one in report.passes:
        if one.changed and one.name not in {layer.method for layer in report.layers}:
            console.print(_text(f"{one.name}: {count(one.changed, 'node')} rewritten"))
    _print_reasons(report, console)
    for note in report.notes:
        console.print(_text(f"note: {note}", style="yellow"))
    style = "bold red" if report.missed else "bold green" if report.latency.before_ms is not None else "bold"
    console.print(_text(f"{target or 'dry run, nothing written'}: {summary(report)}", style=style))


def _layer_table(report: Report) -> Table:
    table = _table("layer", "method", ">kB", ">ms")
    for layer in report.layers:
        table.add_row(
            _text(layer.name),
            _text(layer.method, "dim" if layer.method == "dense" else "green"),
            pair(layer.bytes, lambda b: f"{b / 1e3:.1f}"),
            pair(layer.ms, lambda ms: f"{ms:.3f}"),
        )
    return table


def _print_reasons(report: Report, console: Console) -> None:
    """Why layers stayed dense: the first of the reasons for each. The JSON has all of them."""
    stayed = [layer for layer in report.layers if layer.method == "dense" and layer.reasons]
    if stayed:
        console.print(_text("left as they were:"))
    for layer in stayed:
        console.print(_text(f"  {layer.name}: {layer.reasons[0]}"))


def print_inspection(inspection: Inspection) -> None:
    """The layers, then for each pass where it could act."""
    console = _console()
    table = _table("layer", "op", "weight", ">MMAC", ">parameters", ">zeros", "structure")
    for layer in inspection.layers:
        table.add_row(
            _text(layer.name),
            _text(layer.op),
            "x".join(map(str, layer.shape)),
            "-" if layer.macs is None else f"{layer.macs / 1e6:.2f}",
            f"{layer.parameters:,}",
            f"{layer.zeros:.1%}",
            _text(layer.structure),
        )
    console.print(table)
    for name, layers in inspection.by_pass().items():
        console.print(_text(f"{name} could apply to {count(len(layers), 'layer')}: {', '.join(layers)}"))


def print_comparison(comparison: Comparison) -> None:
    """Every output's errors, then PASS or FAIL with the reason."""
    console = _console()
    table = _table("output", ">max abs", ">mean abs", ">p99 abs", ">max rel", ">rel L2", ">cosine", ">argmax")
    for o in comparison.outputs:
        errors = (_number(value) for value in (o.max_abs, o.mean_abs, o.p99_abs, o.max_rel, o.rel_l2))
        cosine = "-" if o.cosine is None else f"{o.cosine:.6f}"
        table.add_row(
            _text(o.name), *errors, cosine, "-" if o.argmax_agreement is None else f"{o.argmax_agreement:.2%}"
        )
    if comparison.outputs:
        console.print(table)
    verdict = f"on {count(comparison.inputs, 'input')}"
    if comparison.passed:
        console.print(_text(f"PASS {verdict}", style="bold green"))
    else:
        console.print(_text(f"FAIL {verdict}: {comparison.reason}", style="bold red"))


def print_bench(result: BenchResult) -> None:
    """Every model against the first."""
    console = _console()
    table = _table("model", ">median ms", ">p95 ms", ">speedup", ">load ms", ">memory", ">file")
    for model in result.models:
        table.add_row(
            _text(bench_name(model)),
            f"{model.median_ms:.3f}",
            f"{model.p95_ms:.3f}",
            f"{model.speedup:.2f}x",
            f"{model.load_ms:.1f}",
            size(model.rss_bytes),
            size(model.file_bytes),
        )
    console.print(table)
    for model in result.models:
        if model.note:
            console.print(_text(f"note: {model.path}: {model.note}", style="yellow"))
        if model.int8:
            console.print(_text(_int8_answer(model, result.compared)))
    if result.layers:
        _print_layer_times(result.layers, [bench_name(model) for model in result.models], console)
    machine = result.host
    console.print(
        _text(
            f"batch {result.batch}, {count(result.threads, 'thread')}, {result.rounds} rounds, {machine.cpu}, "
            f"{machine.isa}, ONNX Runtime {machine.onnxruntime}"
        )
    )


def _int8_answer(model: ModelBench, samples: int) -> str:
    """What quantising did to the answer."""
    agreed = model.argmax_agreement
    argmax = "" if agreed is None else f", the same argmax on {agreed:.1%} of them"
    error = f"relative L2 error {_number(model.rel_l2)}"
    return f"{bench_name(model)}: on {count(samples, 'input')} {error}{argmax}"


def _print_layer_times(times: LayerTimes, models: Sequence[str], console: Console) -> None:
    """Every layer, the other nodes by operator, all of them; B's ratio is A's time over its own."""
    letters = [chr(ord("A") + index) for index in range(len(models))]
    ratios = [f">A/{letter}" for letter in letters[1:]]
    table = _table("layer", *(f">{letter} ms" for letter in letters), *ratios)

    def add(row: Row) -> None:
        found = (row.ratio(index) for index in range(1, len(models)))
        figures = ["-" if ms is None else f"{ms:.3f}" for ms in row.ms]
        table.add_row(_text(row.name), *figures, *("-" if one is None else f"{one:.2f}x" for one in found))

    for section in (times.layers, times.other, (times.total,)):
        for row in section:
            add(row)
        table.add_section()
    console.print(table)
    for letter, name in zip(letters, models, strict=True):
        console.print(_text(f"{letter}: {name}"))


def print_passes(listing: Mapping[str, Any]) -> None:
    """Every pass, what it does, and its options with their defaults."""
    console = _console()
    for one in listing["passes"]:
        console.print(Text.assemble((plain(one["name"]), "bold"), plain(f": {one['summary']}")))
        for option in one["options"]:
            default = " (must be given)" if option["required"] else f"={option['default']}"
            console.print(_text(f"    {option['name']}{default}  {option['description'] or ''}"))


def print_host(profile: HostProfile, note: str | None) -> None:
    """Peak, bandwidths, break-even sparsities, the cost model's constants; then `note`."""
    console = _console()
    machine = profile.host
    console.print(
        Text(f"{machine.cpu}, {machine.isa}, {count(machine.threads, 'thread')}, ONNX Runtime {machine.onnxruntime}")
    )
    table = _table("what", ">measured")
    for threads, gflops in profile.fma_peak_gflops.items():
        table.add_row(f"multiply-add peak, {count(threads, 'thread')}", f"{gflops:.0f} GFLOP/s")
    for one in profile.bandwidths:
        table.add_row(f"bandwidth at {size(one.working_set_bytes)}", f"{one.gb_per_s:.0f} GB/s")
    console.print(table)
    if profile.break_evens:
        _print_break_evens(profile, console)
    for text in (profile.library, note):
        if text:
            console.print(_text(f"note: {text}", style="yellow"))


def _print_break_evens(profile: HostProfile, console: Console) -> None:
    table = _table("layer class", ">dense ms", ">at 90 % zeros", ">break-even sparsity")
    for layer in profile.break_evens:
        even = "none" if layer.sparsity is None else f"{layer.sparsity:.0%}"
        table.add_row(layer.layer, f"{layer.dense_ms:.3f}", f"{layer.speedup_at_90:.2f}x", even)
    console.print(table)
    table = _table("cost model: layers", ">alpha", ">beta", ">points", ">median error")
    for fit in profile.fits:
        error = f"{fit.median_ratio - 1:.0%}"
        table.add_row(fit.kind, f"{fit.alpha:.2f}", f"{fit.beta:.2f}", str(fit.points), error)
    if profile.prediction_error is not None:
        table.add_row("all", "", "", "", f"{profile.prediction_error - 1:.0%}")
    console.print(table)


def _table(*headers: str) -> Table:
    """A table whose headers may start with ">" for columns of figures; text folds, so that nothing is cut off."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        right = header.startswith(">")
        table.add_column(header.removeprefix(">"), justify="right" if right else "left", no_wrap=right, overflow="fold")
    return table


def _text(text: str, style: str = "") -> Text:
    """Names come from the model: never markup, never control characters."""
    return Text(plain(text), style)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
