"""A figure as a plot: a panel for each x, one colour a series."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from figures.figure import Axes, Figure, Row


def draw(figure: Figure, axes: Axes, path: Path) -> None:
    """Write the plot to `path`, an .svg or .png, whole or not at all. Raises OSError."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(7 * len(axes.x), 6.5), layout="constrained")
    canvas.suptitle(figure.title)
    panels = canvas.subplots(1, len(axes.x), sharey=True, squeeze=False)[0]
    for panel, (key, words) in zip(panels, axes.x, strict=True):
        _points(panel, figure.rows, key, axes)
        panel.set_xlabel(words)
        panel.margins(x=0.2)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(axes.y[1])
    panels[0].set_ylim(top=axes.y_most)
    panels[-1].legend()
    canvas.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _points(panel: Any, rows: Sequence[Row], key: str, axes: Axes) -> None:
    """Every series over one key, with the names of points."""
    from adjustText import adjust_text

    named: list[Row] = []
    for name, named in _series(rows, axes.series).items():
        xs, ys = ([float(row[of] or 0) for row in named] for of in (key, axes.y[0]))
        panel.plot(xs, ys, marker="o", linestyle="none", label=name)
    names = [panel.text(x, y, name, fontsize=7) for x, y, name in _named(rows if axes.all_named else named, key, axes)]
    adjust_text(names, ax=panel, expand=(1.2, 2), arrowprops={"arrowstyle": "-", "color": "gray", "lw": 0.4})


def _named(rows: Sequence[Row], key: str, axes: Axes) -> list[tuple[float, float, str]]:
    """Where the points of `rows` are that are shown, and what they are called."""
    points = ((float(row[key] or 0), float(row[axes.y[0]] or 0), str(row[axes.point])) for row in rows)
    return [(x, y, name) for x, y, name in points if axes.y_most is None or y <= axes.y_most]


def _series(rows: Sequence[Row], key: str) -> Mapping[str, list[Row]]:
    """Rows by series, each from left to right as they were measured."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row[key]), []).append(row)
    return found
