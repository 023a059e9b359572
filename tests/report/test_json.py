"""The JSON of every command has the keys and types that scripts rely on, whatever was done."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.small import ALWAYS, onnxcomp, save_network
from tests.passes.graphs import model_of, sparse
from tests.report import contract


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save_network(tmp_path / "in.onnx")


def written(folder: Path, *arguments: Any, exit_code: int = 0) -> dict[str, Any]:
    """What a command writes with --json."""
    path = folder / "result.json"
    result = onnxcomp(*arguments, "--json", path)
    assert result.exit_code == exit_code, result.output
    values = json.loads(path.read_text())
    assert values["schema"] == 1
    return dict(values)


def test_optimize_changed(source: Path) -> None:
    target = source.with_name("out.onnx")
    found = written(source.parent, "optimize", source, target, "--passes", ALWAYS)
    contract.assert_conforms(found, contract.OPTIMIZE)
    assert [(layer["name"], layer["method"]) for layer in found["layers"]] == [
        ("first", "sparse-conv"),
        ("second", "dense"),
        ("head", "sparse-weight"),
    ]
    assert [found[side]["bytes"] for side in ("input", "output")] == [p.stat().st_size for p in (source, target)]
    first, second, head = found["layers"]
    for kind in ("parameters", "bytes", "macs"):
        assert first[kind][1] < first[kind][0]
        assert second[kind][1] == second[kind][0]
    assert head["macs"][1] == head["macs"][0] and head["bytes"][1] < head["bytes"][0]
    assert "zeros" in second["reason"]
    assert found["verify"]["passed"] and found["verify"]["inputs"] > 0
    assert 0 <= found["verify"]["rewrite_max_rel_error"] < 1e-6
    assert [output["name"] for output in found["verify"]["outputs"]] == ["y"]
    assert found["latency"]["before_ms"] > 0 and found["latency"]["speedup"] > 0


def test_optimize_unchanged(source: Path) -> None:
    found = written(source.parent, "optimize", source, source.with_name("out.onnx"), "--passes", "drop-identity")
    contract.assert_conforms(found, contract.OPTIMIZE)
    assert found["latency"] == found["latency"] | {"before_ms": None, "after_ms": None, "speedup": 1.0}
    assert found["verify"] == found["verify"] | {"passed": True, "outputs": [], "rewrite_max_rel_error": 0.0}
    assert {key: found["output"][key] for key in contract.FILE if key != "path"} == {
        key: found["input"][key] for key in contract.FILE if key != "path"
    }


def test_optimize_that_missed(source: Path) -> None:
    arguments = ("optimize", source, source.with_name("out.onnx"), "--target-size", "1%")
    found = written(source.parent, *arguments, exit_code=3)
    contract.assert_conforms(found, contract.OPTIMIZE)
    assert found["exit"] == 3


def test_a_shared_weight_is_told_for_every_layer(source: Path) -> None:
    text = "g (float[N, 64] x) => (float[N, 64] y) {\n[a] t = MatMul (x, w)\n[b] y = MatMul (t, w)\n}"
    model_of(text, {"w": sparse((64, 64))}).save(source)
    found = written(source.parent, "optimize", source, source.with_name("out.onnx"), "--passes", ALWAYS)
    assert [(layer["name"], layer["method"]) for layer in found["layers"]] == [
        ("a", "sparse-weight"),
        ("b", "sparse-weight"),
    ]


def test_layers_that_are_rewritten_together_are_told_each_by_itself(source: Path) -> None:
    """Every channel of `a` but five is dead, so `shrink` takes weights of both layers away, in one rewrite."""
    text = """g (float[1, 16, 8, 8] x) => (float[1, 16, 8, 8] y) {
        [a] t = Conv <pads = [1, 1, 1, 1]> (x, v)
        [b] y = Conv (t, w)
    }"""
    weights = {"v": sparse((32, 16, 3, 3), 0.0), "w": sparse((16, 32, 1, 1), 0.0)}
    weights["v"][5:] = 0
    model_of(text, weights).save(source)
    found = written(source.parent, "optimize", source, source.with_name("out.onnx"), "--passes", "shrink")
    a, b = found["layers"]
    assert [layer["method"] for layer in (a, b)] == ["shrink", "shrink"]
    assert a["parameters"] == [32 * 16 * 9, 5 * 16 * 9] and b["parameters"] == [16 * 32, 16 * 5]
    assert a["bytes"] == [4 * size for size in a["parameters"]]
    assert a["macs"][1] + b["macs"][1] == found["output"]["macs"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_inspect(when: str, source: Path) -> None:
    if when == "after":
        assert onnxcomp("optimize", source, source, "--passes", ALWAYS).exit_code == 0
    found = written(source.parent, "inspect", source)
    contract.assert_conforms(found, contract.INSPECT)
    assert [layer["name"] for layer in found["layers"]] == ["first", "second", "head"]
    zeros = [layer["zeros"] for layer in found["layers"]]
    assert zeros[0] == pytest.approx(0.9, abs=0.02) and zeros[1] == 0
    assert found["layers"][0]["shape"] == [32, 16, 3, 3]
    assert found["layers"][0]["methods"] == (["sparse-conv", "sparse-weight"] if when == "before" else [])


def test_bench(source: Path) -> None:
    found = written(source.parent, "bench", source, source, "--seconds", 0.01)
    contract.assert_conforms(found, contract.BENCH)
    assert [model["path"] for model in found["models"]] == [str(source)] * 2


@pytest.mark.parametrize("seed", [0, 1])
def test_verify(seed: int, source: Path) -> None:
    other = save_network(source.with_name("other.onnx"), seed)
    path = source.with_name("result.json")
    result = onnxcomp("verify", source, other, "--json", path)
    found = json.loads(path.read_text())
    contract.assert_conforms(found, contract.VERIFY)
    assert (result.exit_code, found["passed"]) == ((0, True) if seed == 0 else (4, False))


def test_passes(tmp_path: Path) -> None:
    found = written(tmp_path, "passes")
    contract.assert_conforms(found, contract.PASSES)
    listed = {one["name"]: {o["name"]: o["default"] for o in one["options"]} for one in found["passes"]}
    assert listed["sparse-conv"] == {"when": "faster", "min_zeros": 0.3}
