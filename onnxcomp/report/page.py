"""What the templates show: a result put into the order in which people ask about it. Every figure is ready to print."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from onnxcomp.bench import BenchResult, ModelBench
from onnxcomp.inspection import Inspection
from onnxcomp.report.schema import BudgetSection, LayerSection, Report
from onnxcomp.report.text import at_least, count, number, plain, ratio, share, size, summary, worst_outputs
from onnxcomp.verify import Comparison

_MOST_LAYERS = 20  # in Markdown, which is read in a comment


@dataclass(frozen=True)
class Tile:
    """One figure that decides, what it is of, and where it comes from."""

    what: str
    figure: str
    of: str


@dataclass(frozen=True)
class Row:
    """A layer: texts to show, and numbers to sort by."""

    layer: LayerSection
    options: str
    saved_bytes: int
    speedup: float | None
    used: float | None  # of what is used of the budget, its share

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return self.layer.method != "dense"

    @property
    def error(self) -> float:
        """Of the layer's output on the data, or of its weight where nothing was fitted; relative L2."""
        return error_of(self.layer)


def error_of(layer: LayerSection) -> float:
    """See `Row.error`."""
    return (layer.error or 0.0) if layer.output_error is None else layer.output_error


def report_page(report: Report, *, drawn: bool) -> dict[str, Any]:
    """What `optimize` did; `drawn` with charts."""
    used = shares_of(report.layers)
    rows = [_row(layer, used.get(number)) for number, layer in enumerate(report.layers)]
    charts = []
    if drawn:
        from onnxcomp.report.charts import charts_of  # and matplotlib, which takes half a second

        charts = charts_of(report, rows)
    choices = (report.plan or {}).get("choices")
    changed = sorted((row for row in rows if row.changed), key=lambda row: -row.saved_bytes)
    return {
        "report": report,
        "name": Path(report.input.path or "").name,
        "summary": summary(report),
        "tiles": _tiles(report),
        "measured": _measured(report),
        "methods": Counter(layer.method for layer in report.layers).most_common(),
        "budget": [_budget(one) for one in report.budget],
        "charts": charts,
        "rows": rows,
        "predicted": any(row.layer.predicted_ms for row in rows),
        "shared": bool(used),
        "largest": changed[:_MOST_LAYERS],
        "smaller": len(changed) - len(changed[:_MOST_LAYERS]),
        "dense": sum(not row.changed for row in rows),
        "declined": _declined(report),
        "plan": None if report.plan is None else json.dumps(report.plan, indent=1),
        "choices": len(choices) if isinstance(choices, list) else 0,
    }


def bench_page(result: BenchResult) -> dict[str, Any]:
    """What `bench` measured."""
    models = [(plain(bench_name(model)), model) for model in result.models]
    return {"result": result, "models": models, "layer_heads": ["layer", *(f">{name} ms" for name, _ in models)]}


def bench_name(model: ModelBench) -> str:
    """What tables call a model."""
    return Path(model.path).name + (" (int8)" if model.int8 else "")


def verify_page(comparison: Comparison, a: Path, b: Path) -> dict[str, Any]:
    """What `verify` found of `a` and `b`."""
    return {"comparison": comparison, "a": a, "b": b}


def inspect_page(inspection: Inspection) -> dict[str, Any]:
    """What `inspect` listed."""
    return {
        "inspection": inspection,
        "layers": [(one, inspection.methods.get(one.key, ())) for one in inspection.layers],
    }


def _row(layer: LayerSection, used: float | None) -> Row:
    before, after = layer.ms
    options = ", ".join(f"{key}={value}" for key, value in layer.options.items())
    return Row(layer, options, layer.bytes[0] - layer.bytes[1], before / after if before and after else None, used)


def shares_of(layers: Sequence[LayerSection]) -> dict[int, float]:
    """By the place of each layer whose weights changed, its share of what all of them do to the outputs.

    What each does alone adds up while it is little, so it is divided in proportion: the network's change where that was
    found out for all, else the squared error of the layer's output, or of its weight.
    """
    changed = {number: layer for number, layer in enumerate(layers) if layer.error}
    known = all(layer.network_change is not None for layer in changed.values())
    harms = {n: abs(layer.network_change or 0.0) if known else error_of(layer) ** 2 for n, layer in changed.items()}
    whole = sum(harms.values())
    return {number: harm / whole for number, harm in harms.items()} if 0 < whole < inf else {}


def _tiles(report: Report) -> list[Tile]:
    """Size, speed, answers, work."""
    before, after, latency = report.input, report.output, report.latency
    tiles = [Tile("Bytes left", _change(after.bytes, before.bytes), f"{size(before.bytes)} -> {size(after.bytes)}")]
    if latency.before_ms is not None and latency.after_ms is not None:
        milliseconds = f"{latency.before_ms:.3f} -> {latency.after_ms:.3f} ms"
        of = f"{milliseconds}, {count(latency.threads, 'thread')}, batch {latency.batch}"
        tiles.append(Tile("Speed", ratio(latency.speedup), of))
    tiles.append(_answers(report))
    macs = f"{before.macs / 1e6:,.1f} -> {after.macs / 1e6:,.1f} million"
    tiles.append(Tile("Multiply-adds left", _change(after.macs, before.macs), macs))
    return tiles


def _answers(report: Report) -> Tile:
    """How the outputs compare with the input's."""
    of = f"on {count(report.verify['inputs'], 'input')} {'of the data' if report.data else 'of random numbers'}"
    if not report.verify["outputs"]:
        return Tile("Answers", "the same", "nothing was rewritten")
    error, agreement = worst_outputs(report)
    if not any(layer.error for layer in report.layers):
        return Tile("Answers", f"equal to {error:.0e}" if error else "the same", f"relative L2 error, {of}")
    if agreement is None:
        return Tile("Answers", f"within {error:.2%}", f"relative L2 error, {of}")
    return Tile("Answers", f"{at_least(agreement)} the same", f"largest output, {of}; relative L2 error {error:.1%}")


def _change(after: float, before: float) -> str:
    return share(after / before) if before else "-"


def _measured(report: Report) -> str:
    """Where, and on what."""
    host, data = report.host, report.data
    inputs = "seeded random inputs" if data is None else f"{data['used']} of {data['count']} inputs of {data['source']}"
    return f"{host.cpu} ({host.isa}), ONNX Runtime {host.onnxruntime}, on {inputs}"


_UNITS: Mapping[str, tuple[str, str]] = {
    "--max-error": ("relative error at most", ".2e"),
    "--min-agreement": ("the same answer on at least, %", ".2f"),
    "--max-drop": ("points lost at most", ".2f"),
    "--target-speedup": ("times as fast at least", ".2f"),
    "--target-size": ("bytes at most", ",.0f"),
}


def _budget(one: BudgetSection) -> tuple[str, str, str, str, bool]:
    """Option, what it says, asked, measured, met."""
    words, form = _UNITS.get(one.option, ("", "g"))
    return one.option, words, number(one.asked, form), number(one.measured, form), one.met


def _declined(report: Report) -> list[tuple[str, list[tuple[str, str]]]]:
    """By node, what each pass said."""
    found: dict[str, list[tuple[str, str]]] = {}
    for one in report.passes:
        for declined in one.declined:
            found.setdefault(declined.node, []).append((one.name, declined.reason))
    return list(found.items())
