"""The same input, options and plan give the same bytes; a plan fits the model it was made for and no other."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.small import ALWAYS, assert_refused, onnxcomp, save_network
from tests.passes.graphs import model_of, sparse


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save_network(tmp_path / "in.onnx")


def optimized(source: Path, name: str, *options: object) -> bytes:
    """The bytes of the output, optimized into a file called `name`."""
    target = source.with_name(name)
    result = onnxcomp("optimize", source, target, "--quiet", *options)
    assert result.exit_code == 0, result.output
    return target.read_bytes()


def test_two_runs_write_the_same_bytes(source: Path) -> None:
    runs = [optimized(source, f"{i}.onnx", "--passes", ALWAYS, "--seed", 3) for i in range(2)]
    assert runs[0] == runs[1] != source.read_bytes()


@pytest.mark.parametrize("options", [(), ("--passes", ALWAYS), ("--portable",), ("--passes", ALWAYS, "--portable")])
def test_a_plan_is_replayed_byte_for_byte(options: tuple[str, ...], source: Path) -> None:
    plan = source.with_name("plan.json")
    first = optimized(source, "first.onnx", "--plan", plan, *options)
    again = source.with_name("again.json")
    replays = [optimized(source, f"{i}.onnx", "--replay", plan, "--plan", again) for i in range(2)]
    assert replays == [first, first]
    assert again.read_bytes() == plan.read_bytes()


@pytest.mark.parametrize("options", [(), ("--portable",)])
def test_a_plan_with_codebooks_is_replayed(options: tuple[str, ...], source: Path) -> None:
    few = np.round(sparse((64, 64), 0.6), 1)
    text = "g (float[N, 64] x) => (float[N, 64] y) {\n[a] t = MatMul (x, w)\n[b] y = MatMul (t, w)\n}"
    model_of(text, {"w": few}).save(source)
    plan = source.with_name("plan.json")
    first = optimized(source, "first.onnx", "--plan", plan, "--passes", "codebook", *options)
    told = [choice["options"] for choice in json.loads(plan.read_text())["choices"]]
    assert told == [{"values": np.unique(few[few != 0]).size}]
    assert optimized(source, "again.onnx", "--replay", plan) == first
    assert 0 < len(first) < few.nbytes


def test_the_plan_says_all_that_decides(source: Path) -> None:
    plan = source.with_name("plan.json")
    optimized(source, "out.onnx", "--plan", plan, "--passes", ALWAYS, "--seed", 5)
    written = json.loads(plan.read_text())
    assert (written["plan"], written["passes"], written["portable"], written["seed"]) == (1, ALWAYS, False, 5)
    assert len(written["input_sha256"]) == 64
    choices = [(choice["by"], choice["node"]) for choice in written["choices"]]
    assert choices == [("sparse-conv", "a"), ("sparse-weight", "y")]


def test_a_plan_of_another_model_is_refused(source: Path) -> None:
    plan, other = source.with_name("plan.json"), save_network(source.with_name("other.onnx"), seed=1)
    optimized(source, "out.onnx", "--plan", plan)
    refused = onnxcomp("optimize", other, source.with_name("no.onnx"), "--replay", plan)
    assert_refused(refused, 2, "another model", "other.onnx", "--plan")
    assert not source.with_name("no.onnx").exists()


NOWHERE = {"by": "sparse-conv", "node": "nowhere", "method": "sparse-conv", "options": {}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"choices": [NOWHERE]}, "'nowhere' is not to be had"),
        ({"passes": "magic"}, "unknown pass 'magic'"),
        ({"plan": 2}, "not a plan of this version: plan"),
        ({"extra": 1}, "extra"),
        ({"seed": "many"}, "seed"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(values: dict[str, object], words: str, source: Path) -> None:
    plan = source.with_name("plan.json")
    optimized(source, "out.onnx", "--plan", plan, "--passes", ALWAYS)
    plan.write_text(json.dumps(json.loads(plan.read_text()) | values))
    assert_refused(onnxcomp("optimize", source, source.with_name("no.onnx"), "--replay", plan), 2, words)
    assert not source.with_name("no.onnx").exists()


def test_a_portable_run_does_not_replay_what_is_not(source: Path) -> None:
    plan = source.with_name("plan.json")
    optimized(source, "out.onnx", "--plan", plan, "--passes", ALWAYS)
    refused = onnxcomp("optimize", source, source.with_name("no.onnx"), "--replay", plan, "--portable")
    assert_refused(refused, 2, "sparse-conv of 'a' is not to be had")
