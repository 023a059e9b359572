"""Figures as people read them, the same in the terminal and in documents."""

from collections.abc import Callable
from typing import Any

from onnxcomp.report.schema import Report


def summary(report: Report) -> str:
    """One line: "9.3 MB -> 1.1 MB, 3.1x faster on 2 threads, outputs equal to 2e-07"."""
    before, after, latency = report.input, report.output, report.latency
    parts = [f"{size(before.bytes)} -> {size(after.bytes)}"]
    if latency.before_ms is None:
        return f"{parts[0]}, nothing rewritten"
    pace = f"{latency.speedup:.2f}x faster" if latency.speedup >= 1.03 else "as fast as before"
    error = max((output["rel_l2"] or 0.0 for output in report.verify["outputs"]), default=0.0)
    equal = f"outputs equal to {error:.0e}" if error else "outputs the same"
    return f"{parts[0]}, {pace} on {count(latency.threads, 'thread')}, {equal}"


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


def plain(text: object) -> str:
    """As text without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def count(number: int, noun: str) -> str:
    """ "1 thread", "2 threads"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
