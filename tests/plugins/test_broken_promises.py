"""What a pass may not do: each broken promise is caught, and the message names who broke it where."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.small import assert_refused, onnxcomp, save_network
from tests.plugins.install import PlugIn

PROMISES = {
    "match-fails": ("'lost'",),
    "propose-fails": ("node 'act'", "ZeroDivisionError: divided by zero"),
    "dangling": ("nowhere",),
    "inexact": ("node 'act'", "outputs are off by"),
}


@pytest.fixture
def source(plug_in: PlugIn, tmp_path: Path) -> Path:
    plug_in("tests.plugins.third_party:FAILING")
    return save_network(tmp_path / "in.onnx")


@pytest.mark.parametrize("name", PROMISES)
def test_a_failure_names_pass_node_and_the_passes_before(name: str, source: Path) -> None:
    result = onnxcomp("optimize", source, source.with_name("out.onnx"), "--passes", f"drop-identity,{name}")
    assert_refused(result, 1, f"pass {name} failed", "passes before it: drop-identity", *PROMISES[name])
    assert not source.with_name("out.onnx").exists()


@pytest.mark.parametrize("name", PROMISES)
def test_the_reproducer_repeats_the_failure(name: str, source: Path) -> None:
    onnxcomp("optimize", source, source.with_name("out.onnx"), "--passes", f"sparse-weight,{name}")
    (folder,) = source.parent.glob("in-reproducer-*")
    program, *arguments = shlex.split((folder / "command.txt").read_text())
    assert program == "onnxcomp"
    command = [sys.executable, "-c", "from onnxcomp.cli import main; main()", *arguments]
    repeated = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert repeated.returncode == 1, repeated.stderr
    for words in (f"pass {name} failed", *PROMISES[name]):
        assert words in repeated.stderr
    assert "out.onnx" not in os.listdir(folder)


def test_a_broken_graph_is_not_written(source: Path) -> None:
    result = onnxcomp("optimize", source, source.with_name("out.onnx"), "--passes", "dangling")
    assert result.exit_code != 0 and "nowhere" in result.stderr
    assert not source.with_name("out.onnx").exists()


def test_inspect_names_a_pass_that_fails(source: Path) -> None:
    assert_refused(onnxcomp("inspect", source), 1, "pass match-fails failed: KeyError: 'lost'")
