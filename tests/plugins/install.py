"""Installs a third-party package with passes, as pip would leave it: a module and a dist-info folder on the path."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onnxcomp.catalogue import GROUP, installed

REPOSITORY = Path(__file__).parents[2]
PlugIn = Callable[..., Path]


@pytest.fixture
def plug_in(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlugIn]:
    """`plug_in(value)` installs the entry point `value`, "module:object", for this process and those it starts.

    The module is one of the tests', or `source` is the text of a module `third_party_module`.
    """

    def install(value: str, source: str = "") -> Path:
        site = tmp_path_factory.mktemp("site")
        (site / "third_party_module.py").write_text(source)
        info = site / "third_party-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{GROUP}]\nthird-party = {value}\n")
        monkeypatch.syspath_prepend(site)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(site), str(REPOSITORY), *sys.path)))
        _forget()
        return site

    yield install
    _forget()


def _forget() -> None:
    sys.modules.pop("third_party_module", None)
    importlib.invalidate_caches()
    installed.cache_clear()
