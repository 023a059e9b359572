"""What the terminal shows: tables at any width, names as they are, no control character out of a file."""

import re
from pathlib import Path

import pytest

from tests.end_to_end.small import ALWAYS, onnxcomp
from tests.report.hostile import save_hostile

COMMANDS = {
    "optimize": ("--dry-run", "--passes", ALWAYS),
    "inspect": (),
    "verify": (),
    "bench": ("--seconds", "0.01"),
    "passes": (),
}


def shown(command: str, source: Path) -> str:
    """What `command` prints about `source`."""
    models = {"verify": [source, source], "passes": []}.get(command, [source])
    result = onnxcomp(command, *models, *COMMANDS[command])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("width", [1, 20, 60])
@pytest.mark.parametrize("command", COMMANDS)
def test_fits_a_narrow_terminal(command: str, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", str(width)), ("TERM", "xterm-256color")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = re.sub(r"\x1b\[[\d;]*m", "", shown(command, save_hostile(tmp_path / "in.onnx")))
    assert text and all(len(line) <= width for line in text.splitlines())


@pytest.mark.parametrize("command", ["optimize", "inspect"])
def test_names_are_shown_as_they_are(command: str, tmp_path: Path) -> None:
    text = shown(command, save_hostile(tmp_path / "in.onnx"))
    joined = re.sub(r"\s+", "", text)  # a long name is wrapped
    assert "[red]y[/red]" in joined and ":smile:" in joined
    assert "?[31mred?" in joined
    assert not any(ord(c) < 32 and c != "\n" for c in text)


def test_errors_hold_no_control_characters(tmp_path: Path) -> None:
    result = onnxcomp("inspect", tmp_path / "\x1b[31m.onnx")
    assert result.exit_code == 2
    assert "?[31m.onnx" in result.stderr


def test_quiet_prints_nothing(tmp_path: Path) -> None:
    source = save_hostile(tmp_path / "in.onnx")
    for command in ("optimize", "inspect", "verify", "bench"):
        models = [source, source] if command == "verify" else [source]
        assert onnxcomp(command, *models, *COMMANDS[command], "--quiet").output == ""
