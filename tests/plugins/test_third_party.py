"""A pass out of another package: found by its entry point, run beside ours, and told in one line where it is broken."""

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.end_to_end.small import ALWAYS, assert_refused, onnxcomp, save_network
from tests.plugins.install import PlugIn


def test_runs_in_a_pipeline_with_ours(plug_in: PlugIn, tmp_path: Path) -> None:
    plug_in("tests.plugins.third_party:WORKING")
    source, target, report = save_network(tmp_path / "in.onnx"), tmp_path / "out.onnx", tmp_path / "report.json"
    pipeline = f"relu-to-max{{at_least=0}},needs-an-option{{rank=2}},{ALWAYS}"
    assert onnxcomp("optimize", source, target, "--passes", pipeline, "--json", report).exit_code == 0
    assert {"SparseConv", "Max"} < {node.op_type for node in onnx.load(target).graph.node}
    first = json.loads(report.read_text())["passes"][0]
    assert (first["name"], first["options"], first["changed"]) == ("relu-to-max", {"at_least": 0}, 1)


def test_is_found_by_a_fresh_process(plug_in: PlugIn, tmp_path: Path) -> None:
    plug_in("tests.plugins.third_party:ReluToMax")
    code = "from onnxcomp.cli import main; main()"
    command = [sys.executable, "-c", code, "passes", "--json", str(tmp_path / "passes.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "passes.json").read_text())["passes"][-1]["name"] == "relu-to-max"


def test_is_listed_with_its_options(plug_in: PlugIn, tmp_path: Path) -> None:
    plug_in("tests.plugins.third_party:WORKING")
    result = onnxcomp("passes", "--json", tmp_path / "passes.json")
    listed = {one["name"]: one for one in json.loads((tmp_path / "passes.json").read_text())["passes"]}
    assert list(listed)[:1] == ["drop-identity"]  # ours first
    assert listed["needs-an-option"]["options"] == [
        {"name": "rank", "type": "int", "default": None, "required": True, "description": "must be given"}
    ]
    assert "the bound [red]of[/red] Max" in result.stdout


def test_an_option_that_must_be_given(plug_in: PlugIn, tmp_path: Path) -> None:
    plug_in("tests.plugins.third_party:WORKING")
    source = save_network(tmp_path / "in.onnx")
    refused = onnxcomp("optimize", source, tmp_path / "out.onnx", "--passes", "needs-an-option")
    assert_refused(refused, 2, "needs-an-option", "rank", "required")
    assert onnxcomp("inspect", source).exit_code == 0


BROKEN = {
    "tests.plugins.nowhere:Pass": "cannot be loaded",
    "tests.plugins.third_party:Missing": "cannot be loaded",
    "third_party_module:Pass": "cannot be loaded: division by zero",
    "tests.plugins.third_party:BoundOptions": "no Pass",
    "tests.plugins.third_party:Impostor": "redefines the pass 'sparse-conv'",
    "tests.plugins.third_party:NUMBER": "is not iterable",
    "tests.plugins.third_party:Nameless": "no name",
}


@pytest.mark.parametrize("value", BROKEN)
def test_a_broken_plug_in_is_named(value: str, plug_in: PlugIn) -> None:
    plug_in(value, source="1 / 0")
    assert_refused(onnxcomp("passes"), 1, "plug-in 'third-party'", value, BROKEN[value])
