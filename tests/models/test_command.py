"""The network scripts as programs: a file and a line about it, or one line about what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in (ROOT / "models").glob("*.py") if path.name != "train_digits.py")


def script(name: str, *arguments: str | Path, threads: int = 1) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, f"models/{name}", *map(str, arguments)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads)}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("name", SCRIPTS)
def test_writes_a_model(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    result = script(name, out, "--image-size", "64", "--seed", "1", "--sparsity", "0.9", "--pattern", "16x1")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{out}: {Path(name).stem}, ")
    onnx.checker.check_model(out)


def test_bytes_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    # The image has to be of some size for the library to share its sums out at all.
    outs = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for threads, out in enumerate(outs, start=1):
        assert (
            script("squeezenet1_1.py", out, "--image-size", "128", "--sparsity", "0.5", threads=threads).returncode == 0
        )
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_options_reach_the_model(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    options = ("--cifar", "--no-batchnorm", "--include-first", "--sparsity", "0.5", "--classes", "7")
    assert script("resnet18.py", out, *options).returncode == 0
    graph = onnx.load(out).graph
    assert [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim[1:]] == [3, 32, 32]
    assert graph.output[0].type.tensor_type.shape.dim[1].dim_value == 7
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    first = numpy_helper.to_array(graph.initializer[0])
    assert first.shape == (64, 3, 3, 3)
    assert np.count_nonzero(first) == first.size // 2


def test_a_pattern_may_bring_its_own_zeros(tmp_path: Path) -> None:
    outs = [tmp_path / "implied.onnx", tmp_path / "said.onnx"]
    for out, said in zip(outs, [(), ("--sparsity", "0.875")], strict=True):
        assert script("resnet20.py", out, "--pattern", "2:16", *said).returncode == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    metadata = {entry.key: entry.value for entry in onnx.load(outs[0]).metadata_props}
    assert (metadata["pattern"], metadata["sparsity"]) == ("2:16", "0.875")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "OUT.onnx"),
        (["absent/folder/out.onnx"], "absent/folder/out.onnx"),
        (["{out}", "--sparsity", "1.5"], "1.5 is not between 0 and 1"),
        (["{out}", "--sparsity", "nan"], "nan is not between 0 and 1"),
        (["{out}", "--seed", "-1"], "-1 is negative"),
        (["{out}", "--classes", "0"], "0 is not at least 1"),
        (["{out}", "--pattern", "2x2"], "'2x2' is none of unstructured, 4x1, 16x1 and n:16"),
        (["{out}", "--pattern", "0:16"], "'0:16' is none of"),
        (["{out}", "--pattern", "16:16"], "'16:16' is none of"),
        (["{out}", "--pattern", "2:16", "--sparsity", "0.9"], "2:16 is a sparsity of 0.875, not 0.9"),
        (["{out}", "--image-size", "3"], "the image is too small"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], said: str, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    result = script("squeezenet1_1.py", *(argument.format(out=out) for argument in arguments))
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert not out.exists()
