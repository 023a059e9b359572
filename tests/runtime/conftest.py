"""Lets the tests of this folder run again with another build of the extension library."""

import os
from pathlib import Path

import pytest

from onnxcomp.runtime import loader

LIBRARY_VARIABLE = "ONNXCOMP_TEST_LIBRARY"


@pytest.fixture(autouse=True)
def _library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the library that the environment names, where it names one."""
    if other := os.environ.get(LIBRARY_VARIABLE):
        monkeypatch.setattr(loader, "library_path", lambda: Path(other))
