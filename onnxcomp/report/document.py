"""Results as documents: Markdown for a pull request, HTML that stands on its own for a browser; names are text in both.

What `optimize`, `bench`, `verify` and `inspect` found has a template each in either form (templates/).
"""

import base64
import hashlib
import re
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from onnxcomp.bench import BenchResult
from onnxcomp.errors import UsageError
from onnxcomp.inspection import Inspection
from onnxcomp.report.page import bench_page, inspect_page, report_page, verify_page
from onnxcomp.report.schema import Report
from onnxcomp.report.text import cell, count, number, plain, ratio, share, size, thousands
from onnxcomp.verify import Comparison

_SUFFIXES = (".html", ".md")


def check_path(path: Path | None) -> None:
    """UsageError for a file that is neither HTML nor Markdown by its name, or whose folder is not there."""
    if path is None:
        return
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"--report {path}: give a name that ends in .html or .md")
    if not path.parent.is_dir():
        raise UsageError(f"--report {path}: there is no folder {path.parent}")


def write_report(report: Report, path: Path) -> None:
    """Write what `optimize` did to `path`, in the form its suffix says."""
    _write("report", report_page(report, drawn=path.suffix == ".html"), path)


def write_bench(result: BenchResult, path: Path) -> None:
    """Write what `bench` measured."""
    _write("bench", bench_page(result), path)


def write_comparison(comparison: Comparison, a: Path, b: Path, path: Path) -> None:
    """Write what `verify` found of `a` and `b`."""
    _write("verify", verify_page(comparison, a, b), path)


def write_inspection(inspection: Inspection, path: Path) -> None:
    """Write what `inspect` listed."""
    _write("inspect", inspect_page(inspection), path)


def _write(name: str, page: dict[str, Any], path: Path) -> None:
    environment = Environment(
        loader=PackageLoader("onnxcomp.report"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = (cell, code, count, number, plain, ratio, share, size, thousands)
    environment.filters.update({one.__name__: one for one in shown})
    script = resources.files("onnxcomp.report").joinpath("templates/sort.js").read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = environment.get_template(f"{name}{path.suffix}.j2").render(
        **page, script=Markup(script), script_sha256=digest
    )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--report {path}: cannot be written: {error.strerror}") from error


def code(text: str) -> Markup:
    """Text in which what stands between backquotes is code, as it is in Markdown."""
    parts = re.split(r"`([^`]+)`", plain(text))
    return Markup("").join(Markup("<code>%s</code>") % part if n % 2 else escape(part) for n, part in enumerate(parts))
