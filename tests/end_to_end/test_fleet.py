"""Several models in one call: each has its result or its reason, whatever became of the others."""

import json
from pathlib import Path

import onnx
import pytest

from tests.end_to_end.small import assert_refused, onnxcomp
from tests.passes.graphs import model_of

TEXT = "net (float[N, 2] x) => (float[N, 2] y) { i = Identity (x) y = Exp (i) }"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of two sound models and one that is none between them."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("a", "c"):
        model_of(TEXT, {}).save(folder / f"{name}.onnx")
    (folder / "b.onnx").write_bytes(b"not a model")
    return folder


def test_a_broken_model_is_in_nobodys_way(models: Path, tmp_path: Path) -> None:
    out, found = tmp_path / "out", tmp_path / "found.json"
    result = onnxcomp("optimize", models, out, "--json", found)
    assert result.exit_code == 2 and "b.onnx" in result.stderr and "Traceback" not in result.output
    assert sorted(path.name for path in out.iterdir()) == ["a.onnx", "c.onnx"]
    assert all(len(onnx.load(path).graph.node) == 1 for path in out.iterdir())
    entries = json.loads(found.read_text())["models"]
    assert [entry["exit"] for entry in entries] == [0, 2, 0]
    assert [Path(entry["input"]["path"]).name for entry in entries] == ["a.onnx", "b.onnx", "c.onnx"]
    assert "b.onnx" in entries[1]["error"]


def test_a_missed_budget_is_told_of_each(models: Path, tmp_path: Path) -> None:
    (models / "b.onnx").unlink()
    result = onnxcomp("optimize", models, tmp_path / "out", "--target-size", "1%", "--quiet")
    assert result.exit_code == 3
    assert [line.split(":")[1].split("/")[-1] for line in result.stderr.splitlines()] == ["a.onnx", "c.onnx"]


@pytest.mark.parametrize("option", ["--plan", "--report"])
def test_what_is_for_one_model_is_refused(option: str, models: Path, tmp_path: Path) -> None:
    refused = onnxcomp("optimize", models, tmp_path / "out", option, tmp_path / "file.md")
    assert_refused(refused, 2, f"{option} is for one model at a time")
