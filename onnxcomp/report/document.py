"""The report as a document: Markdown for a pull request, HTML for a browser, from one set of figures."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from onnxcomp.errors import UsageError
from onnxcomp.report.schema import Report
from onnxcomp.report.text import pair, plain, size, summary

_SUFFIXES = (".html", ".md")


def check_path(path: Path | None) -> None:
    """UsageError for a file that is neither HTML nor Markdown by its name, or whose folder is not there."""
    if path is None:
        return
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"--report {path}: give a name that ends in .html or .md")
    if not path.parent.is_dir():
        raise UsageError(f"--report {path}: there is no folder {path.parent}")


def write_document(report: Report, path: Path) -> None:
    """Write `report` to `path`, in the form its suffix says. Names of layers are text, never markup."""
    check_path(path)
    environment = Environment(
        loader=PackageLoader("onnxcomp.report"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(size=size, cell=_cell, pair=pair)
    text = environment.get_template(f"report{path.suffix}.j2").render(report=report, summary=summary(report))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--report {path}: cannot be written: {error.strerror}") from error


def _cell(value: object) -> str:
    """Text in a Markdown table: no character of it is markup."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|~&" else c for c in plain(value))
