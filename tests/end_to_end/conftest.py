"""What end-to-end tests share."""

import pytest

from onnxcomp import pipeline
from tests.plugins.install import plug_in as plug_in


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time whole networks for a moment only: these tests ask what is written, not how fast it is."""
    monkeypatch.setattr(pipeline, "MEASURING_SECONDS", 0.01)
