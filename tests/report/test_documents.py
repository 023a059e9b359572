"""Documents as Markdown and HTML: names are text in both, never markup; a page stands on its own."""

import json
import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.small import ALWAYS, assert_refused, onnxcomp, save_network
from tests.report.hostile import ESCAPE, NAME, save_hostile

SCRIPT = resources.files("onnxcomp.report").joinpath("templates/sort.js").read_text()
VOID = {"meta", "br"}
COMMANDS: dict[str, tuple[object, ...]] = {
    "optimize": ("--passes", ALWAYS),
    "inspect": (),
    "verify": (),
    "bench": ("--seconds", "0.01", "--layers"),
}


def document(source: Path, suffix: str, *options: object, command: str = "optimize") -> str:
    """The document that a run writes; what the run writes besides lies in its folder."""
    path = source.with_name(f"report{suffix}")
    out = {"optimize": [source.with_name("out.onnx")], "verify": [source]}.get(command, [])
    result = onnxcomp(command, source, *out, "--quiet", "--report", path, *options)
    assert result.exit_code == 0, result.output
    return path.read_text(encoding="utf-8")


class Page(HTMLParser):
    """What is in a page; fails where elements are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.rows: list[str] = []  # texts of row headers
        self.scripts: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "th" and ("scope", "row") in attrs:
            self.rows.append("")
        if tag == "script":
            self.scripts.append("")
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "xlink:href", "src", "action", "data"):
                self.addresses.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["th"] and self.rows:
            self.rows[-1] += data
        if self._open[-1:] == ["script"]:
            self.scripts[-1] += data


@pytest.mark.parametrize("command", COMMANDS)
def test_html_shows_names_as_they_are(command: str, tmp_path: Path) -> None:
    text = document(save_hostile(tmp_path / 'it\'s "in".onnx'), ".html", *COMMANDS[command], command=command)
    page = Page(text)
    assert page.scripts == [SCRIPT] and page.handlers == []
    assert "it&#39;s &#34;in&#34;.onnx" in text
    assert not any(ord(c) < 32 and c != "\n" for c in text)
    if command != "verify":  # which knows outputs only
        assert page.rows.count(NAME) >= 1
        assert page.rows.count(ESCAPE.replace("\x1b", "?").replace("\x07", "?")) >= 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_stands_on_its_own(command: str, tmp_path: Path) -> None:
    text = document(save_network(tmp_path / "in.onnx"), ".html", *COMMANDS[command], command=command)
    page = Page(text)
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"@import|url\((?!#)", text)
    assert len(page.ids) == len(set(page.ids))
    assert {address[1:] for address in page.addresses} <= set(page.ids)
    assert len(text) < 1_000_000


def cells(text: str) -> list[list[str]]:
    """The rows of all tables of a Markdown document."""
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "verify"])
def test_markdown_shows_names_as_they_are(command: str, tmp_path: Path) -> None:
    text = document(save_hostile(tmp_path / "in.onnx"), ".md", *COMMANDS[command], command=command)
    firsts = [row[0].strip() for row in cells(text)]
    assert not any(ord(c) < 32 and c != "\n" for c in text)
    if command != "bench":  # whose Markdown is of models
        (first,) = (one for one in firsts if re.sub(r"\\(.)", r"\1", one) == NAME)
        assert not re.search(r"(?<!\\)[<>\[\]*_`&|]", first)


@pytest.mark.parametrize("suffix", [".html", ".md"])
@pytest.mark.parametrize("passes", [ALWAYS, "drop-identity"])
def test_a_report_says_what_was_done_and_how_to_do_it_again(suffix: str, passes: str, tmp_path: Path) -> None:
    text = document(save_network(tmp_path / "in.onnx"), suffix, "--passes", passes, "--threads", 1)
    changed = passes == ALWAYS
    for word in ("Multiply-adds", "ONNX Runtime", "--threads 1", "--passes"):
        assert word in text
    assert ("first" in text) == (changed or suffix == ".html")  # Markdown has what changed
    assert ("nothing was rewritten" in text) != changed


def test_a_report_holds_every_chart_and_every_reason(tmp_path: Path) -> None:
    data = tmp_path / "data.npz"
    np.savez(data, x=np.random.default_rng(0).standard_normal((32, 16, 14, 14), np.float32))
    budget = ("--data", data, "--max-error", 0.2, "--passes", "fold-batchnorm,compress{methods=prune},sparse-conv")
    text = document(
        save_network(tmp_path / "in.onnx"), ".html", *budget, "--json", tmp_path / "report.json", "--no-cache"
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["search"]["trials"] and len(report["search"]["front"]) > 2
    costs = [point["cost"] for point in report["search"]["front"]]
    assert costs == sorted(costs, reverse=True) and costs[0] <= 1
    (held,) = report["budget"]
    assert held["option"] == "--max-error" and held["met"] and held["measured"] <= held["asked"] == 0.2
    titles = re.findall(r"<h3>(.*?)</h3>", text)
    expected = ["Milliseconds", "Bytes", "Layers before", "What each layer uses", "What there was to choose"]
    assert [any(title.startswith(word) for title in titles) for word in expected] == [True] * 5
    for one in report["passes"]:
        for declined in one["declined"]:
            assert declined["node"] in text


def test_a_saved_report_becomes_the_same_document(tmp_path: Path) -> None:
    saved = tmp_path / "report.json"
    for suffix in (".html", ".md"):
        text = document(save_network(tmp_path / "in.onnx"), suffix, "--passes", ALWAYS, "--json", saved)
        again = tmp_path / f"again{suffix}"
        result = onnxcomp("report", saved, "-o", again)
        assert (result.exit_code, result.output) == (0, "")
        assert again.read_text(encoding="utf-8") == text


def saved(folder: Path) -> dict[str, Any]:
    """What `optimize --json` writes."""
    source = save_network(folder / "in.onnx")
    arguments = ("--dry-run", "--quiet", "--passes", ALWAYS, "--json", folder / "report.json")
    assert onnxcomp("optimize", source, *arguments).exit_code == 0
    return json.loads((folder / "report.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a report of optimize"),
        ('{"schema": 1, "models": []}', "not a report of optimize"),
        ('{"schema": 2, "layers": []}', "not a report of optimize"),
        ('{"schema": 1, "layers": []}', "version"),
        ('{"schema": 1, "layers": [], "exit": NaN}', "not JSON"),
        ('{"schema": 1, "layers": [], "exit": 1e999}', "not JSON"),
        (f'{{"schema": 1, "layers": [], "exit": {"9" * 30}}}', "not JSON"),
        ("\xff", "not JSON"),
    ],
)
def test_something_else_than_a_report_is_refused(text: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(text.encode("latin-1"))
    assert_refused(onnxcomp("report", path, "-o", tmp_path / "out.html"), 2, word)
    assert not (tmp_path / "out.html").exists()


def test_figures_of_a_report_may_be_anything(tmp_path: Path) -> None:
    report = saved(tmp_path)
    for section in ("input", "output"):
        report[section] |= {"bytes": 0, "macs": 0, "path": "<b>"}
    report["latency"] |= {"before_ms": 0.0, "after_ms": -1.0}
    for layer in report["layers"]:
        layer |= {"ms": [0.0, 0.0], "bytes": [0, 5], "error": 0.5, "name": "$\\frac{<b>&"}
    (tmp_path / "odd.json").write_text(json.dumps(report))
    for suffix in (".html", ".md"):
        result = onnxcomp("report", tmp_path / "odd.json", "-o", tmp_path / f"odd{suffix}")
        assert result.exit_code == 0, result.output
    assert "b" not in Page((tmp_path / "odd.html").read_text(encoding="utf-8")).elements


@pytest.mark.parametrize("command", COMMANDS)
def test_a_document_that_cannot_be_written(command: str, tmp_path: Path) -> None:
    source = save_network(tmp_path / "in.onnx")
    out = {"optimize": [tmp_path / "out.onnx"], "verify": [source]}.get(command, [])
    for place, words in ((tmp_path / "no" / "report.md", "there is no folder"), (tmp_path / "report.pdf", "ends in")):
        assert_refused(onnxcomp(command, source, *out, "--report", place), 2, "--report", words)
    assert not (tmp_path / "out.onnx").exists()
