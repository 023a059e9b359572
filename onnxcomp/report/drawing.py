"""SVG for a page: matplotlib draws, the page's CSS variables paint, so that a drawing follows light and dark."""

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from onnxcomp.report.text import plain

WIDTH = 360  # px: what a phone shows at full size
FONT = 11
_PX_PER_INCH = 72
# What a thing is drawn in stands for what it is; the page says which colour that has (templates/style.css).
_PAINT = MappingProxyType(
    {
        role: f"#0a0b{number:02x}"
        for number, role in enumerate(("ink", "muted", "line", "before", "after", "better", "worse"))
    }
)
_STYLE: Mapping[str, Any] = MappingProxyType(
    {
        "svg.fonttype": "none",  # text stays text: searched, selected, read aloud
        "font.size": FONT,
        "axes.edgecolor": _PAINT["line"],
        "axes.labelcolor": _PAINT["muted"],
        "xtick.color": _PAINT["muted"],
        "ytick.color": _PAINT["muted"],
        "text.color": _PAINT["ink"],
        "axes.linewidth": 0.8,
    }
)


class Drawing:
    """A drawing `WIDTH` wide and `height` high, in pixels from the top left, until `axes` says otherwise."""

    def __init__(self, height: float) -> None:
        with _styled():
            self.figure = Figure(figsize=(WIDTH / _PX_PER_INCH, height / _PX_PER_INCH), dpi=_PX_PER_INCH)
            self.sheet = self.figure.add_axes((0, 0, 1, 1), label="sheet")
        self.sheet.set_axis_off()
        self.sheet.set(xlim=(0, WIDTH), ylim=(height, 0))
        self._height = height

    def text(self, x: float, y: float, text: str, role: str = "ink", align: str = "left") -> None:
        """Text whose baseline is at `y`; `align` is the side of it that `x` is."""
        self.sheet.text(x, y, plain(text), color=_PAINT[role], fontsize=FONT, ha=align, va="baseline", parse_math=False)

    def bar(self, x: float, y: float, width: float, height: float, role: str) -> None:
        """A bar from its top left corner; a width below zero goes to the left, and none is less than a pixel wide."""
        left, right = sorted((x, x + width))
        self.sheet.barh(y, max(right - left, 1), height, left, align="edge", color=_PAINT[role])

    def line(self, x: float, y: float, to_x: float, to_y: float, role: str = "line", width: float = 1) -> None:
        """A straight line."""
        self.sheet.plot([x, to_x], [y, to_y], color=_PAINT[role], linewidth=width, solid_capstyle="butt")

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """Axes for data, these margins away from the edges."""
        place = (left / WIDTH, bottom / self._height, 1 - (left + right) / WIDTH, 1 - (top + bottom) / self._height)
        with _styled():
            axes = self.figure.add_axes(place, label="data")
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def svg(self, name: str) -> Markup:
        """The drawing, to stand in a page; `name` is its own there."""
        file = io.StringIO()
        with _styled(name), warnings.catch_warnings():  # the same drawing gives the same text
            warnings.filterwarnings("ignore", "Glyph")  # the browser has other fonts
            self.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
        body = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
        body = body[body.index(">", body.index("<svg")) + 1 :]
        body = re.sub(r"<[^>]*>", lambda tag: _of_page(tag[0], name), body)  # text, which has no <, stays as it is
        return Markup(f'<svg viewBox="0 0 {WIDTH} {self._height:g}" aria-hidden="true">{body}')


def _of_page(tag: str, name: str) -> str:
    """A tag of the drawing `name`, with the page's colours, and ids that are its own there."""
    for role, colour in _PAINT.items():
        tag = tag.replace(colour, f"var(--{role})")
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", tag)


@contextmanager
def _styled(salt: str = "") -> Iterator[None]:
    """Whatever style the user has for plots of their own, this is for ours."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        style: Any = {**_STYLE, "svg.hashsalt": salt}
        matplotlib.rcParams.update(style)
        yield


def paint(role: str) -> str:
    """The colour that stands for `role`, for matplotlib."""
    return _PAINT[role]
