"""Figures as people read them, the same in the terminal and in documents."""

from collections.abc import Callable
from math import floor
from typing import Any

from onnxcomp.report.schema import Report

_NOISE = 1.03  # times as fast, by which repeats differ


def summary(report: Report) -> str:
    """One line: "9.3 MB -> 1.1 MB, 3.1x faster on 2 threads, outputs equal to 2e-07"."""
    before, after, latency = report.input, report.output, report.latency
    sizes = f"{size(before.bytes)} -> {size(after.bytes)}"
    if latency.before_ms is None:
        return f"{sizes}, nothing rewritten"
    return f"{sizes}, {_pace(latency.speedup)} on {count(latency.threads, 'thread')}, {_outputs(report)}"


def _pace(speedup: float) -> str:
    if speedup >= _NOISE:
        return f"{speedup:.2f}x faster"
    return "as fast as before" if speedup * _NOISE >= 1 else f"{speedup:.2f}x the speed"


def _outputs(report: Report) -> str:
    """How the outputs compare: equal but for rounding, or how near, where weights have changed."""
    error, agreement = worst_outputs(report)
    if not any(layer.error for layer in report.layers):
        return f"outputs equal to {error:.0e}" if error else "outputs the same"
    same = "" if agreement is None else f", argmax the same on {at_least(agreement)}"
    return f"outputs within {error:.1%}{same}"


def worst_outputs(report: Report) -> tuple[float, float | None]:
    """The largest relative L2 error of an output, and the smallest agreement; None where no output has classes."""
    outputs = report.verify["outputs"]
    agreements = [one["argmax_agreement"] for one in outputs if one["argmax_agreement"] is not None]
    return max((one["rel_l2"] or 0.0 for one in outputs), default=0.0), min(agreements, default=None)


def at_least(value: float) -> str:
    """A share in per cent, never rounded up: what is not all is not 100 %."""
    return f"{floor(1000 * value) / 10:.1f}%"


def size(bytes_: int) -> str:
    """Bytes in decimal units."""
    value = float(bytes_)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def pair(values: tuple[Any, Any], show: Callable[[Any], str] = str) -> str:
    """A value before and after: "3 -> 2", once where it stayed, "-" for one not known."""
    before, after = ("-" if value is None else show(value) for value in values)
    return before if before == after else f"{before} -> {after}"


def thousands(values: tuple[float | None, float | None], form: str, unit: float) -> str:
    """A pair in multiples of `unit`."""
    return pair(values, lambda value: form.format(value / unit))


def shortened(text: str, length: int) -> str:
    """At most `length` characters: of what is longer, the beginning and more of the end, which names differ in."""
    if len(text) <= length:
        return text
    head = (length - 1) // 3
    return f"{text[:head]}…{text[len(text) - (length - 1 - head) :]}"


def plain(text: object) -> str:
    """As text without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def count(number: int, noun: str) -> str:
    """ "1 thread", "2 threads"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def cell(value: object) -> str:
    """Text in a Markdown table: no character of it is markup."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|~&" else c for c in plain(value))


def number(value: float | None, form: str = ".1e") -> str:
    """A figure, "-" for one not known."""
    return "-" if value is None else format(value, form)


def share(value: float | None, digits: int = 1) -> str:
    """Of one, in per cent."""
    return "-" if value is None else f"{100 * value:.{digits}f} %"


def ratio(value: float | None) -> str:
    """How many times."""
    return "-" if value is None else f"{value:.2f}x"
