"""The examples that gate a model: well-formed, and their commands do what they say."""

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml

from tests.docs.blocks import REPOSITORY, prepare

EXAMPLES = REPOSITORY / "examples"


@pytest.fixture
def folder(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with the files that the examples name, and the environment to run in."""
    environment = prepare(tmp_path)
    shutil.copy(REPOSITORY / "models" / "digits_pruned.onnx", tmp_path / "model.onnx")
    shutil.copy(REPOSITORY / "models" / "digits.npz", tmp_path / "calibration.npz")
    return tmp_path, environment


def run(command: str, folder: tuple[Path, dict[str, str]], **more: str) -> subprocess.CompletedProcess[str]:
    place, environment = folder
    return subprocess.run(
        ["bash", "-ec", command], cwd=place, env={**environment, **more}, capture_output=True, text=True
    )


def make_wrong(path: Path) -> None:
    """The network with its answers reversed."""
    model = onnx.load(REPOSITORY / "models" / "digits.onnx")
    (output,) = model.graph.output
    last = next(node for node in model.graph.node if output.name in node.output)
    last.output[0] = "reversed"
    model.graph.node.append(onnx.helper.make_node("Neg", ["reversed"], [output.name]))
    onnx.save(model, path)


def steps() -> tuple[dict[str, str], list[dict[str, Any]]]:
    action = yaml.safe_load((EXAMPLES / "github-action.yml").read_text())
    return action["env"], action["jobs"]["gate"]["steps"]


@pytest.mark.parametrize(("budget", "code"), [(None, 0), ("--passes fold-batchnorm --target-size 1%", 3)])
def test_the_action_passes_and_fails(budget: str | None, code: int, folder: tuple[Path, dict[str, str]]) -> None:
    environment, found = steps()
    environment |= {"BUDGET": budget or environment["BUDGET"]}
    optimise, verify = (step["run"] for step in found if step.get("run", "").startswith("onnxcomp"))
    done = run(optimise, folder, **environment)
    assert done.returncode == code, done.stderr
    assert 0 < len((folder[0] / "report.md").read_text()) < 65_536  # what a comment holds
    assert run(verify, folder, **environment).returncode == 0


def test_the_hooks_pass_and_fail(folder: tuple[Path, dict[str, str]]) -> None:
    config = yaml.safe_load((EXAMPLES / "pre-commit-config.yaml").read_text())
    verify, replay = (hook["entry"] for hook in config["repos"][0]["hooks"])
    replay = replay.replace("/tmp/replayed.onnx", shlex.quote(str(folder[0] / "replayed.onnx")))
    ship = "onnxcomp optimize model.onnx shipped.onnx --data calibration.npz --plan plan.json --quiet"
    assert run(ship, folder).returncode == 0
    assert [run(hook, folder).returncode for hook in (verify, replay)] == [0, 0]
    make_wrong(folder[0] / "shipped.onnx")
    verified, replayed = run(verify, folder), run(replay, folder)
    assert verified.returncode == 4 and "the same argmax" in verified.stdout
    assert replayed.returncode == 1 and "shipped.onnx differ" in replayed.stdout  # what cmp says
