"""A figure as a plot: one colour a series, its points labelled."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from figures.figure import Axes, Figure, Row


def draw(figure: Figure, axes: Axes, path: Path) -> None:
    """Write the plot to `path`, an .svg or .png, whole or not at all. Raises OSError."""
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(8, 5), layout="constrained")
    plot = canvas.add_subplot()
    for name, rows in _series(figure.rows, axes.series).items():
        xs, ys = ([float(row[key] or 0) for row in rows] for key in (axes.x[0], axes.y[0]))
        plot.plot(xs, ys, marker="o", linestyle="none", label=name)
    for row in figure.rows:
        x, y = float(row[axes.x[0]] or 0), float(row[axes.y[0]] or 0)
        if axes.y_most is None or y <= axes.y_most:
            plot.annotate(str(row[axes.point]), (x, y), xytext=(3, 3), textcoords="offset points", fontsize=6)
    plot.set(title=figure.title, xlabel=axes.x[1], ylabel=axes.y[1])
    plot.set_ylim(top=axes.y_most)
    plot.margins(x=0.12)
    plot.grid(alpha=0.3)
    plot.legend()
    canvas.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _series(rows: Sequence[Row], key: str) -> Mapping[str, list[Row]]:
    """Rows by series, each from left to right as they were measured."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row[key]), []).append(row)
    return found
