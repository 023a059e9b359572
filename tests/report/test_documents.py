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
        self._in_row_header = False
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "th":
            self._in_row_header = ("scope", "row") in attrs
            self.rows += [""] if self._in_row_header else []
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
        if self._in_row_header and self._open[-1:] == ["th"]:
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


def budgeted(folder: Path, *options: object) -> tuple[str, dict[str, Any]]:
    """The page and the JSON of a run that divides a budget among the layers, by bytes: no time decides anything."""
    data, saved = folder / "data.npz", folder / "report.json"
    np.savez(data, x=np.random.default_rng(0).standard_normal((32, 16, 14, 14), np.float32))
    passes = "fold-batchnorm,compress{methods=prune},sparse-conv"
    budget = ("--data", data, "--max-error", 0.2, "--passes", passes, "--goal", "size")
    text = document(save_network(folder / "in.onnx"), ".html", *budget, "--json", saved, *options)
    return text, json.loads(saved.read_text())


def test_what_was_found_out_earlier_is_shown_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (_, first), (_, second) = budgeted(tmp_path), budgeted(tmp_path)
    assert first["search"] == second["search"] is not None


def test_a_report_says_what_was_asked_for_and_what_was_tried(tmp_path: Path) -> None:
    text, report = budgeted(tmp_path, "--no-cache")
    search, (held,) = report["search"], report["budget"]
    assert len([one for one in search["trials"] if one["chosen"] and one["holds"]]) == 1
    assert held["option"] == "--max-error" and held["met"] and held["measured"] <= held["asked"] == 0.2
    assert held["used"] == pytest.approx(held["measured"] / 0.2)
    assert [one["loss"] for one in search["front"]] == sorted(one["loss"] for one in search["front"])
    fitted = [layer for layer in report["layers"] if layer["error"]]
    assert fitted and all(layer["network_change"] is not None and layer["output_error"] for layer in fitted)
    for one in report["passes"]:
        for declined in one["declined"]:
            assert declined["node"] in text


def test_every_chart_is_drawn_that_there_are_figures_for(tmp_path: Path) -> None:
    _, report = budgeted(tmp_path, "--no-cache")
    titles = ["Bytes", "What there was to choose", "What each layer uses"]
    for layer in report["layers"]:
        layer |= {"ms": [None, None]}
    assert drawn(report, tmp_path) == titles
    for layer in report["layers"]:
        layer |= {"ms": [2.0, 1.0], "predicted_ms": [2.5, 1.5]}
    assert drawn(report, tmp_path) == ["Milliseconds", *titles[:2], "Layers before and after", titles[2]]
    report["search"] = None
    for layer in report["layers"]:
        layer |= {"error": 0.0, "ms": [None, None], "bytes": [1, 1]}
    assert drawn(report, tmp_path) == []


def drawn(report: dict[str, Any], folder: Path) -> list[str]:
    """How the titles of the page's charts begin."""
    assert [one.exit_code for one in documents(report, folder)] == [0, 0]
    titles = re.findall(r"<h3>(.*?)</h3>", (folder / "odd.html").read_text(encoding="utf-8"))
    return [re.sub(r", layer by layer| of the budget| from$", "", title) for title in titles]


def test_of_many_layers_those_that_matter_are_drawn(tmp_path: Path) -> None:
    report = saved(tmp_path)
    layers = [{**report["layers"][0], "name": f"layer{n:03}", "ms": [1.0 + n % 7, 1.0]} for n in range(200)]
    page = tmp_path / "odd.html"
    assert [one.exit_code for one in documents({**report, "layers": layers}, tmp_path)] == [0, 0]
    text = page.read_text(encoding="utf-8")
    assert "Of 200 layers those that take longest" in text
    assert re.findall(r"<h3>Layers before and after, (.*?)</h3>", text) == [f"{n} of 4" for n in range(1, 5)]
    assert page.stat().st_size < 1_000_000


def test_columns_of_many_layers_are_even_and_none_is_left_out(tmp_path: Path) -> None:
    report = saved(tmp_path)
    for count, charts in ((20, [20]), (21, [10, 11]), (54, [18, 18, 18])):
        layers = [{**report["layers"][0], "name": f"layer{n:03}", "ms": [2.0, 1.0]} for n in range(count)]
        assert [one.exit_code for one in documents({**report, "layers": layers}, tmp_path)] == [0, 0]
        page = (tmp_path / "odd.html").read_text(encoding="utf-8")
        figures = [one.partition("</svg>")[0] for one in page.split("<figure>") if "<h3>Layers before" in one]
        names = [set(re.findall(r"layer\d{3}", figure)) for figure in figures]
        assert [len(one) for one in names] == charts
        assert sorted(set().union(*names)) == [layer["name"] for layer in layers]


def test_code_in_a_note_is_shown_as_code_and_nothing_else_is(tmp_path: Path) -> None:
    report = {**saved(tmp_path), "notes": ["run `onnxcomp host`", "a ` alone", "`<b>`", "`` two"]}
    assert [one.exit_code for one in documents(report, tmp_path)] == [0, 0]
    page = (tmp_path / "odd.html").read_text(encoding="utf-8")
    assert re.findall(r"<li>(.*(?:run|alone|b&gt;|two).*)</li>", page) == [
        "run <code>onnxcomp host</code>",
        "a ` alone",
        "<code>&lt;b&gt;</code>",
        "`` two",
    ]


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
        ("{", "Invalid JSON"),
        ("[" * 100_000, "Invalid JSON"),
        ("[]", "not what optimize --json writes"),
        ('{"schema": 1, "models": []}', "version"),
        ('{"schema": 2, "version": ""}', "schema: "),
        ('{"schema": 1, "layers": []}', "version"),
        ("\xff", "Invalid JSON"),
    ],
)
def test_something_else_than_a_report_is_refused(text: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(text.encode("latin-1"))
    assert_refused(onnxcomp("report", path, "-o", tmp_path / "out.html"), 2, word)
    assert not (tmp_path / "out.html").exists()


def documents(report: dict[str, Any], folder: Path) -> list[Any]:
    """What making the page and the Markdown of `report` gives; they lie in odd.html and odd.md."""
    (folder / "odd.json").write_text(json.dumps(report))
    return [onnxcomp("report", folder / "odd.json", "-o", folder / f"odd{suffix}") for suffix in (".html", ".md")]


def test_figures_of_a_report_may_be_odd(tmp_path: Path) -> None:
    report = saved(tmp_path)
    for section in ("input", "output"):
        report[section] |= {"bytes": 0, "macs": 0, "path": "<b>"}
    report["latency"] |= {"before_ms": 0.0, "after_ms": -1.0}
    report["plan"] = {"choices": 5}
    report["budget"] = [{"option": "<b>|\n", "asked": 1, "measured": None, "used": -1, "met": False}]
    for layer in report["layers"]:
        layer |= {
            "ms": [0.0, 0.0],
            "bytes": [0, 5],
            "error": 0.5,
            "name": "$\\frac{<b>&漢字 url(#a) #0a0b00",
            "op": "<b>",
        }
    assert [one.exit_code for one in documents(report, tmp_path)] == [0, 0]
    text = (tmp_path / "odd.html").read_text(encoding="utf-8")
    assert "b" not in Page(text).elements
    assert text.count("url(#a) #0a0b00") >= 2  # in a table and in charts, as it is
    assert "<b>" not in re.sub(r"\\<", "", (tmp_path / "odd.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("error", 1e200),
        ("error", 1e-200),
        ("error", "NaN"),
        ("bytes", [10**400, 1]),
        ("bytes", ["1" * 400, 1]),
        ("ms", ["NaN", 1]),
        ("ms", [1e308, -1e308]),
        ("op", "\ud800"),
    ],
)
def test_figures_that_cannot_be_shown_are_refused(key: str, value: Any, tmp_path: Path) -> None:
    report = saved(tmp_path)
    for layer in report["layers"]:
        layer[key] = value
    for result in documents(report, tmp_path):
        assert result.exit_code in (0, 2), result.output
        assert result.exit_code == 0 or len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_document_that_cannot_be_written(command: str, tmp_path: Path) -> None:
    source = save_network(tmp_path / "in.onnx")
    out = {"optimize": [tmp_path / "out.onnx"], "verify": [source]}.get(command, [])
    for place, words in ((tmp_path / "no" / "report.md", "there is no folder"), (tmp_path / "report.pdf", "ends in")):
        assert_refused(onnxcomp(command, source, *out, "--report", place), 2, "--report", words)
    assert not (tmp_path / "out.onnx").exists()
