"""What a report draws: where time and bytes went, layers before and after, what each uses of the budget, the front.

Rows are as wide as a phone, with the name and the figure above the bar, so that nothing has to be turned or shrunk. The
figures are in the page's tables too: a chart is for the eye.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from markupsafe import Markup

from onnxcomp.report.drawing import WIDTH, Drawing, paint
from onnxcomp.report.page import Row
from onnxcomp.report.schema import LayerSection, Report, SearchSection
from onnxcomp.report.text import count, shortened, size

_ROW, _BASELINE, _BAR = 30, 12, 9  # px: of a row, to the text in it, of a bar
_NAME = 34  # characters that leave room for a figure
_STEPS = 14  # of a waterfall: the rest is one more
_LAYERS = 80  # drawn of a network: of more, those that matter most
_COLUMN = 20  # of them in one chart at most, which is about as tall as a waterfall and fits a printed page
_LEAST_LOSS = 1e-4  # of the largest: what is less is not drawn on the logarithmic axis
T = TypeVar("T")


@dataclass(frozen=True)
class Chart:
    """A drawing with the words around it."""

    title: str
    caption: str
    svg: Markup


@dataclass(frozen=True)
class _Step:
    name: str
    change: float


def charts_of(report: Report, rows: Sequence[Row]) -> list[Chart]:
    """Every chart that the report, whose layers are `rows`, has figures for."""
    whole = (_milliseconds(report), _bytes(report), _front(report.search))
    return [*(chart for chart in whole if chart), *_layers(rows), *_budget(report, rows)]


def _milliseconds(report: Report) -> Chart | None:
    before, after = report.latency.before_ms, report.latency.after_ms
    steps = [_Step(one.name, ms[1] - ms[0]) for one in report.layers if (ms := _pair(one.ms))]
    if before is None or after is None or not steps:
        return None
    rest = "all else: conversions, other nodes"
    drawing = _waterfall(before, steps, after, rest, lambda ms: f"{ms:.3f} ms")
    caption = (
        "From the input's time to the output's, both measured as whole networks in turns. Layers were measured one by "
        "one, so the last step also holds what parts do not add up to."
    )
    return Chart("Milliseconds, layer by layer", caption, drawing.svg("ms"))


def _bytes(report: Report) -> Chart | None:
    steps = [_Step(one.name, one.bytes[1] - one.bytes[0]) for one in report.layers if one.bytes[1] != one.bytes[0]]
    if not steps:
        return None
    rest = "all else: nodes, names, biases"
    drawing = _waterfall(report.input.bytes, steps, report.output.bytes, rest, lambda b: size(round(b)))
    return Chart("Bytes, layer by layer", "From the input's file to the output's.", drawing.svg("bytes"))


def _waterfall(before: float, steps: Sequence[_Step], after: float, rest: str, show: Callable[[float], str]) -> Drawing:
    """Two whole bars, and between them what each step took away or added, in the order given."""
    shown = _most(steps, lambda step: abs(step.change), _STEPS)
    left_out, all_of_them = len(steps) - len(shown), sum(step.change for step in steps)
    if left_out:
        shown.append(_Step(count(left_out, "more layer"), all_of_them - sum(step.change for step in shown)))
    shown.append(_Step(rest, after - before - all_of_them))
    drawing = Drawing(_ROW * (len(shown) + 2))
    levels = [before]
    for step in shown:
        levels.append(levels[-1] + step.change)
    zero = min(0.0, *levels)  # below which parts that add up to more than the whole would end
    scale = WIDTH / (max(levels) - zero or 1)
    _row(drawing, 0, "before", show(before), [(-zero * scale, before * scale, "before")])
    for number, (step, level) in enumerate(zip(shown, levels, strict=False), 1):
        sign, role = ("-", "better") if step.change < 0 else ("+", "worse")
        bar = ((level - zero) * scale, step.change * scale, role)
        _row(drawing, number, step.name, sign + show(abs(step.change)), [bar])
    _row(drawing, len(shown) + 1, "after", show(after), [(-zero * scale, after * scale, "after")])
    return drawing


def _row(drawing: Drawing, number: int, name: str, figure: str, bars: Sequence[tuple[float, float, str]]) -> None:
    """A name, its figure, and beneath them bars (start, length, role) that share the height."""
    top = number * _ROW
    drawing.text(0, top + _BASELINE, shortened(name, _NAME))
    drawing.text(WIDTH, top + _BASELINE, figure, "muted", "right")
    height = _BAR / len(bars)
    for place, (start, length, role) in enumerate(bars):
        drawing.bar(start, top + _BASELINE + 4 + place * height, length, height, role)


def _layers(rows: Sequence[Row]) -> Iterator[Chart]:
    timed = [(row.layer, ms) for row in rows if (ms := _pair(row.layer.ms))]
    drawn = _most(timed, lambda one: one[1][0], _LAYERS)
    scale = WIDTH / (max((max(*ms, *(layer.predicted_ms or ())) for layer, ms in drawn), default=0) or 1)

    def row(drawing: Drawing, number: int, one: tuple[LayerSection, tuple[float, float]]) -> None:
        layer, (before, after) = one
        figure = f"{before:.3f} -> {after:.3f} ms"
        _row(drawing, number, layer.name, figure, [(0, before * scale, "before"), (0, after * scale, "after")])
        for place, predicted in enumerate(layer.predicted_ms or ()):
            top = number * _ROW + _BASELINE + 4 + place * _BAR / 2
            drawing.line(predicted * scale, top - 1, predicted * scale, top + _BAR / 2 + 1, "ink", 1.5)

    caption = "Grey: the dense layer; coloured: what stands there now; measured in turns, node by node."
    if any(layer.predicted_ms for layer, _ in drawn):
        caption += " Upright strokes: what the cost model predicted."
    if len(drawn) < len(timed):
        caption += f" Of {len(timed)} layers those that take longest."
    return _columns("Layers before and after", caption, "layers", drawn, row)


def _pair(ms: tuple[float | None, float | None]) -> tuple[float, float] | None:
    before, after = ms
    return None if before is None or after is None else (before, after)


def _most(items: Sequence[T], weight: Callable[[T], float], limit: int) -> list[T]:
    """Those of the greatest weight, in the order given."""
    largest = sorted(range(len(items)), key=lambda place: weight(items[place]), reverse=True)[:limit]
    return [items[place] for place in sorted(largest)]


def _columns(
    title: str, caption: str, name: str, rows: Sequence[T], draw: Callable[[Drawing, int, T], None]
) -> Iterator[Chart]:
    """`rows`, each drawn in its place, as charts that stand beside one another; the last one holds the caption."""
    columns = ceil(len(rows) / _COLUMN)
    parts = [rows[len(rows) * n // columns : len(rows) * (n + 1) // columns] for n in range(columns)]
    for number, part in enumerate(parts, 1):
        drawing = Drawing(_ROW * len(part))
        for place, one in enumerate(part):
            draw(drawing, place, one)
        of = f", {number} of {len(parts)}" if len(parts) > 1 else ""
        yield Chart(title + of, caption if number == len(parts) else "", drawing.svg(f"{name}{number}"))


def _budget(report: Report, rows: Sequence[Row]) -> Iterator[Chart]:
    """The share of the budget that is used, divided among the layers."""
    used = max((one.used for one in report.budget if one.used is not None), default=None)
    of, whole = ("of the budget", used) if used is not None and used > 0 else ("of all that changed", 1.0)
    shares = [(row, row.used * whole) for row in rows if row.used is not None]
    drawn = _most(shares, lambda one: one[1], _LAYERS)
    scale = WIDTH / max((share for _, share in drawn), default=1)

    def row(drawing: Drawing, number: int, one: tuple[Row, float]) -> None:
        layer, share = one
        _row(drawing, number, layer.layer.name, f"{layer.error:.1%} off, {share:.1%}", [(0, share * scale, "after")])

    told = "" if used is None else f" {max(used, 0.0):.0%} of the budget is used."
    caption = (
        f"How much {of} is each layer's, divided in proportion to what it does alone.{told} Off: the relative error of "
        "its own output on the data, or of its weight where nothing was fitted."
    )
    return _columns("What each layer uses of the budget", caption, "budget", drawn, row)


def _front(search: SearchSection | None) -> Chart | None:
    most = max((one.loss for one in search.front), default=0.0) if search else 0.0
    if search is None or most <= 0:
        return None
    least = _LEAST_LOSS * most
    points = sorted((100 * one.cost, one.loss) for one in search.front if one.loss >= least)
    drawing = Drawing(260)
    axes = drawing.axes(left=48, top=8, right=10, bottom=40)
    axes.plot(*zip(*points, strict=True), color=paint("before"), linewidth=1.5, zorder=1)
    marks = [(one, *_on_front(search, one.share)) for one in search.trials]
    for trial, x, y in marks:
        if y >= least:
            role = "after" if trial.chosen else "better" if trial.holds else "worse"
            shape, size_ = "o" if trial.holds else "X", 11 if trial.chosen else 7
            axes.plot([x], [y], marker=shape, markersize=size_, color=paint(role), zorder=2 + trial.chosen)
    axes.set_yscale("log")
    axes.set_xlabel(f"{search.unit}, % of the dense layers'", parse_math=False)
    axes.set_ylabel("expected change, squared")
    caption = "The line is the least change of the outputs that is expected at every cost, over all layers and methods."
    if marks:
        within = f"within {search.bound}" if search.bound else "within every bound"
        caption += (
            " Marks show how far along it the whole network was taken, fitted and measured: round ones stayed "
            f"{within}, crosses did not, a large one was chosen."
        )
    return Chart("What there was to choose from", caption, drawing.svg("front"))


def _on_front(search: SearchSection, share: float) -> tuple[float, float]:
    """Where the line is, at a share of the dial between two of its points: both figures change by equal ratios."""
    places = sorted(search.front, key=lambda one: one.share)
    low = max((one for one in places if one.share <= share), key=lambda one: one.share, default=places[0])
    high = min((one for one in places if one.share >= share), key=lambda one: one.share, default=places[-1])
    part = (share - low.share) / (high.share - low.share) if high.share > low.share else 0.0
    cost, loss = (_between(*pair, part) for pair in ((low.cost, high.cost), (low.loss, high.loss)))
    return 100 * cost, loss


def _between(low: float, high: float, part: float) -> float:
    """By ratios, where both are above zero."""
    return float(low ** (1 - part) * high**part) if low > 0 and high > 0 else high if part == 1 else low
