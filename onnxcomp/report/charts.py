"""What a report draws: where time and bytes went, layers before and after, what each uses of the budget, the front.

Rows are as wide as a phone, with the name and the figure above the bar, so that nothing has to be turned or shrunk.
Everything drawn is also in a table: a chart is for the eye.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from onnxcomp.report.drawing import WIDTH, Drawing, paint
from onnxcomp.report.schema import LayerSection, Report, SearchSection
from onnxcomp.report.text import count, shortened, size

_ROW, _BASELINE, _BAR = 30, 12, 9  # px: of a row, to the text in it, of a bar
_NAME = 34  # characters that leave room for a figure
_STEPS = 14  # of a waterfall: the rest is one more
_LEAST_LOSS = 1e-4  # of the largest: what is less is not drawn on the logarithmic axis


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


def charts_of(report: Report) -> list[Chart]:
    """Every chart that the report has figures for."""
    found = (_milliseconds(report), _bytes(report), _layers(report), _budget(report), _front(report.search))
    return [chart for chart in found if chart]


def _milliseconds(report: Report) -> Chart | None:
    before, after = report.latency.before_ms, report.latency.after_ms
    if before is None or after is None:
        return None
    steps = [
        _Step(one.name, one.ms[1] - one.ms[0])
        for one in report.layers
        if one.ms[0] is not None and one.ms[1] is not None
    ]
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
    largest = sorted(steps, key=lambda step: -abs(step.change))[:_STEPS]
    shown = [step for step in steps if step in largest]
    small = [step for step in steps if step not in largest]
    if small:
        shown.append(_Step(f"{count(len(small), 'more layer')}", sum(step.change for step in small)))
    shown.append(_Step(rest, after - before - sum(step.change for step in steps)))
    drawing = Drawing(_ROW * (len(shown) + 2))
    levels = [before]
    for step in shown:
        levels.append(levels[-1] + step.change)
    scale = WIDTH / (max(*levels, before, after) or 1)
    _row(drawing, 0, "before", show(before), [(0, before * scale, "before")])
    for number, (step, level) in enumerate(zip(shown, levels, strict=False), 1):
        sign = "-" if step.change < 0 else "+"
        role = "better" if step.change < 0 else "worse"
        _row(drawing, number, step.name, sign + show(abs(step.change)), [(level * scale, step.change * scale, role)])
    _row(drawing, len(shown) + 1, "after", show(after), [(0, after * scale, "after")])
    return drawing


def _row(drawing: Drawing, number: int, name: str, figure: str, bars: Sequence[tuple[float, float, str]]) -> None:
    """A name, its figure, and beneath them bars (start, length, role) that share the height."""
    top = number * _ROW
    drawing.text(0, top + _BASELINE, shortened(name, _NAME))
    drawing.text(WIDTH, top + _BASELINE, figure, "muted", "right")
    height = _BAR / len(bars)
    for place, (start, length, role) in enumerate(bars):
        drawing.bar(start, top + _BASELINE + 4 + place * height, length, height, role)


def _layers(report: Report) -> Chart | None:
    timed = [one for one in report.layers if None not in one.ms]
    if not timed:
        return None
    drawing = Drawing(_ROW * len(timed))
    most = max(max(_known(one.ms) + _known(one.predicted_ms or (None, None))) for one in timed)
    scale = WIDTH / most if most else 0.0
    for number, one in enumerate(timed):
        before, after = _known(one.ms)
        figure = f"{before:.3f} -> {after:.3f} ms"
        _row(drawing, number, one.name, figure, [(0, before * scale, "before"), (0, after * scale, "after")])
        for place, ms in enumerate(one.predicted_ms or ()):
            top = number * _ROW + _BASELINE + 4 + place * _BAR / 2
            drawing.line(ms * scale, top - 1, ms * scale, top + _BAR / 2 + 1, "ink", 1.5)
    dense = len(report.layers) - len(timed)
    predicted = " Upright strokes: what the cost model predicted." if any(one.predicted_ms for one in timed) else ""
    left = f" {count(dense, 'layer')} without a measurement: the table has why." if dense else ""
    caption = f"Grey: the dense layer; coloured: what stands there now; each measured in turns.{predicted}{left}"
    return Chart("Layers before and after", caption, drawing.svg("layers"))


def _known(pair: Sequence[float | None]) -> list[float]:
    return [value for value in pair if value is not None]


def _budget(report: Report) -> Chart | None:
    """The share of the budget that is used, divided among the layers by what each does alone."""
    changed = [one for one in report.layers if one.error]
    weights = [_harm(one) for one in changed]
    if not sum(weights):
        return None
    used = _used(report)
    shares = [(used or 1.0) * weight / sum(weights) for weight in weights]
    drawing = Drawing(_ROW * len(changed))
    scale = WIDTH / max(shares)
    for number, (one, share) in enumerate(zip(changed, shares, strict=True)):
        error = f"{one.output_error or one.error:.1%} off, " if one.output_error or one.error else ""
        _row(drawing, number, one.name, f"{error}{share:.1%}", [(0, share * scale, "after")])
    whole = "Of all that changed" if used is None else f"Of the budget, of which {used:.0%} is used"
    caption = (
        f"{whole}: how much is each layer's, divided by what it does to the outputs alone. Off: the relative error of "
        "its own output (of its weight, where nothing was fitted to data)."
    )
    return Chart("What each layer uses of the budget", caption, drawing.svg("budget"))


def _harm(layer: LayerSection) -> float:
    """Of second order."""
    if layer.network_change is not None:
        return max(layer.network_change, 0.0)
    return (layer.output_error if layer.output_error is not None else layer.error or 0.0) ** 2


def _used(report: Report) -> float | None:
    """The share of the nearest bound on accuracy that is used; None where there is none, or it cannot be told."""
    shares = []
    for one in report.budget:
        if one.measured is None or one.option.startswith("--target"):
            continue
        loss, allowed = (
            (100 - one.measured, 100 - one.asked) if one.option == "--min-agreement" else (one.measured, one.asked)
        )
        if allowed > 0:
            shares.append(loss / allowed)
    return max(shares, default=None)


def _front(search: SearchSection | None) -> Chart | None:
    most = max((one.loss for one in search.front), default=0.0) if search else 0.0
    if search is None or most <= 0:
        return None
    least = _LEAST_LOSS * most
    points = sorted((100 * one.cost, one.loss) for one in search.front if one.loss >= least)
    marks = [(one, *_on_front(search, one.share)) for one in search.trials if one.loss == "network"]
    drawing = Drawing(260)
    axes = drawing.axes(left=48, top=8, right=10, bottom=40)
    axes.plot(*zip(*points, strict=True), color=paint("before"), linewidth=1.5, zorder=1)
    for trial, x, y in marks:
        if y >= least:
            role = "after" if trial.chosen else "better" if trial.holds else "worse"
            shape, size_ = "o" if trial.holds else "X", 11 if trial.chosen else 7
            axes.plot([x], [y], marker=shape, markersize=size_, color=paint(role), zorder=2 + trial.chosen)
    axes.set_yscale("log")
    axes.set_xlabel(f"{search.unit}, % of the dense layers'", parse_math=False)
    axes.set_ylabel("expected change of the outputs")
    held = f"Round marks held {search.bound}, crosses did not; a large one was chosen." if marks else ""
    caption = (
        f"The line is the least expected change at every cost, over all layers and methods. Marks are choices on it "
        f"that were fitted and measured as whole networks. {held}"
    )
    return Chart("What there was to choose from", caption, drawing.svg("front"))


def _on_front(search: SearchSection, share: float) -> tuple[float, float]:
    """Where the line is at a share of the dial: costs go down by equal ratios, losses are read off a straight line."""
    places = sorted(search.front, key=lambda one: one.share)
    low = max((one for one in places if one.share <= share), key=lambda one: one.share, default=places[0])
    high = min((one for one in places if one.share >= share), key=lambda one: one.share, default=places[-1])
    part = (share - low.share) / (high.share - low.share) if high.share > low.share else 0.0
    cost, loss = (_between(*pair, part) for pair in ((low.cost, high.cost), (low.loss, high.loss)))
    return 100 * cost, loss


def _between(low: float, high: float, part: float) -> float:
    """By ratios, where both are above zero."""
    return float(low ** (1 - part) * high**part) if low > 0 and high > 0 else high if part == 1 else low
