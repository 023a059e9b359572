"""Reports as Markdown and HTML: names of layers are text in both, never markup."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.end_to_end.small import ALWAYS, assert_refused, onnxcomp, save_network
from tests.report.hostile import NAME, save_hostile


def document(source: Path, suffix: str, *options: object) -> str:
    """The document that a run writes."""
    path = source.with_name(f"report{suffix}")
    result = onnxcomp("optimize", source, source.with_name("out.onnx"), "--quiet", "--report", path, *options)
    assert result.exit_code == 0, result.output
    return path.read_text(encoding="utf-8")


class Page(HTMLParser):
    """The elements of a page and the text of its row headers; fails where elements are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.rows: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        if tag != "meta":
            self._open.append(tag)
        if ("scope", "row") in attrs:
            self.rows.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["th"] and self.rows:
            self.rows[-1] += data


def test_html_shows_names_as_they_are(tmp_path: Path) -> None:
    page = Page(document(save_hostile(tmp_path / "in.onnx"), ".html", "--passes", ALWAYS))
    assert "script" not in page.elements
    assert page.rows.count(NAME) == 1


def test_markdown_shows_names_as_they_are(tmp_path: Path) -> None:
    text = document(save_hostile(tmp_path / "in.onnx"), ".md", "--passes", ALWAYS)
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    layers = [row for row in rows if len(row) == 5][2:]  # after the head and its rule
    assert len(layers) == 3
    first = layers[0][0].strip()
    assert re.sub(r"\\(.)", r"\1", first) == NAME
    assert not re.search(r"(?<!\\)[<>\[\]*_`&|]", first)
    assert not any(ord(c) < 32 and c != "\n" for c in text)


@pytest.mark.parametrize("suffix", [".html", ".md"])
@pytest.mark.parametrize("passes", [ALWAYS, "drop-identity"])
def test_a_document_has_every_layer_and_note(suffix: str, passes: str, tmp_path: Path) -> None:
    text = document(save_network(tmp_path / "in.onnx"), suffix, "--passes", passes)
    for word in ("first", "second", "head", "multiply-adds", "ONNX Runtime"):
        assert word in text
    assert ("nothing was rewritten" in text) == (passes == "drop-identity")


def test_a_document_that_cannot_be_written(tmp_path: Path) -> None:
    source = save_network(tmp_path / "in.onnx")
    refused = onnxcomp("optimize", source, tmp_path / "out.onnx", "--report", tmp_path / "no" / "report.md")
    assert_refused(refused, 2, "--report", "there is no folder")
    assert not (tmp_path / "out.onnx").exists()
