"""A pass in a package of its own, installed by pip: found, shown, documented, run and verified as ours are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.docs.blocks import REPOSITORY
from tests.passes.graphs import model_of

PACKAGE = Path(__file__).parent / "newcomer"
NET = """net (float[N, 4, 8, 8] x) => (float[N, 4, 8, 8] y) {
    a = Clip (x, zero)
    [narrow] b = Clip (a, zero, six)
    y = Clip (b, low)
}"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a process that has the package beside ours."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--target", site, PACKAGE]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(REPOSITORY / "docs" / "_ext")))}


def run(*arguments: object, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command = [str(word) for word in (Path(sys.executable).parent / "onnxcomp", *arguments)]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)


def onnxcomp(*arguments: object, environment: dict[str, str], folder: Path) -> str:
    """What it prints where nothing is wrong."""
    done = run(*arguments, environment=environment, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_it_is_shown_with_its_options(environment: dict[str, str], tmp_path: Path) -> None:
    shown = onnxcomp("passes", environment=environment, folder=tmp_path)
    assert "clip-to-relu: turn Clip from zero up into Relu" in shown
    assert "tolerance=0.0  how far from zero the lower bound may be" in shown


def test_it_is_documented(environment: dict[str, str], tmp_path: Path) -> None:
    script = "import from_the_code; print(from_the_code._passes())"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    page = done.stdout[done.stdout.index("## clip-to-relu") :]
    assert "Clip(x, 0)    becomes    Relu(x)" in page
    assert "| `tolerance` | `float` | `0.0` | how far from zero the lower bound may be |" in page


def save(path: Path) -> Path:
    """Three Clips: one is a Relu, one has an upper bound, one begins at a quarter."""
    bounds = {"zero": 0, "six": 6, "low": 0.25}
    model_of(NET, {name: np.array(value, np.float32) for name, value in bounds.items()}).save(path)
    return path


def test_it_runs(environment: dict[str, str], tmp_path: Path) -> None:
    source = save(tmp_path / "in.onnx")
    arguments = ("--goal", "size", "--passes", "clip-to-relu", "--json", "report.json")
    onnxcomp("optimize", source, "out.onnx", *arguments, environment=environment, folder=tmp_path)
    assert [node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node] == ["Relu", "Clip", "Clip"]
    (report,) = json.loads((tmp_path / "report.json").read_text())["passes"]
    assert (report["name"], report["changed"], len(report["declined"])) == ("clip-to-relu", 1, 2)
    assert report["declined"][0]["node"] == "narrow"


def test_it_is_held_to_its_promise(environment: dict[str, str], tmp_path: Path) -> None:
    """Relu is not Clip from a quarter up: the proof of the rewrite says so, and nothing is written."""
    source = save(tmp_path / "in.onnx")
    arguments = ("optimize", source, "out.onnx", "--passes", "clip-to-relu{tolerance=0.5}")
    done = run(*arguments, environment=environment, folder=tmp_path)
    assert done.returncode == 1 and "pass clip-to-relu failed" in done.stderr
    assert not (tmp_path / "out.onnx").exists()
