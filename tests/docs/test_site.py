"""The documentation builds as a site, every warning an error, and has a page for all there is."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from onnxcomp.catalogue import installed
from onnxcomp.cli import main
from tests.docs.blocks import REPOSITORY


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it was built."""
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", REPOSITORY / "docs", place]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return place


def test_every_pass_and_option_is_there(site: Path) -> None:
    page = (site / "reference" / "passes.html").read_text(encoding="utf-8")
    for name, kind in installed().items():
        section = page[page.index(f'<section id="{name}"') :]
        section = section[: section.index("</section>")]
        for option in kind.Options.model_fields:
            assert f">{option}<" in section, f"{name}: {option}"


def test_every_command_is_there(site: Path) -> None:
    page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for command in main.commands:
        assert f'id="onnxcomp-{command}"' in page
    assert "--min-agreement" in page


class _Loaded(HTMLParser):
    """What a page loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in ("script", "img", "iframe") and found.get("src"):
            self.addresses.append(str(found["src"]))
        if tag == "link" and found.get("rel") in ("stylesheet", "preload", "icon"):
            self.addresses.append(str(found.get("href")))


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        for address in _Loaded(page.read_text(encoding="utf-8")).addresses:
            assert not re.match(r"(https?:)?//", address), f"{page.name} loads {address}"
