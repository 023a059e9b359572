"""What every benchmark returns: a table with its notes, and what was wrong with the answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

Value = str | float | int | None
Row = Mapping[str, Value]


@dataclass(frozen=True)
class Column:
    """A key of the rows, its header, and the format of its numbers: Python's, or "x" for a ratio."""

    key: str
    header: str
    form: str = ""

    def show(self, value: Value) -> str:
        """The value as the table has it; "-" for None."""
        if value is None or isinstance(value, str):
            return value or "-"
        return f"{value:.2f}x" if self.form == "x" else format(value, self.form)


@dataclass(frozen=True)
class Axes:
    """Keys of the rows, with words for them: what lies along x, a panel each, and along y.

    `series` makes a colour; the points of the last one, or of all, are named by `point`.
    """

    x: tuple[tuple[str, str], ...]
    y: tuple[str, str]
    series: str
    point: str
    y_most: float | None = None  # what lies above is cut off
    all_named: bool = False  # where series do not have the same points


@dataclass(frozen=True)
class Figure:
    """`rows` has what was measured, `faults` a line for each answer that is not ONNX Runtime's."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    axes: Axes | None = None  # of its plot, where it has one

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "name": self.name,
            "title": self.title,
            "rows": [dict(row) for row in self.rows],
            "notes": list(self.notes),
            "faults": list(self.faults),
        }

    def table(self) -> Table:
        """For the terminal."""
        table = Table(title=Text(self.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for column in self.columns:
            table.add_column(column.header, justify="right" if column.form else "left", no_wrap=bool(column.form))
        for row in self.rows:
            table.add_row(*(Text(column.show(row.get(column.key))) for column in self.columns))
        return table
