"""Bad input: one line that says what, where and what to do, the documented exit code, and no file where none was."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper, numpy_helper, parser

from onnxcomp.cli import main

Write = Callable[[Path], object]

NET = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3, 8, 8] x) => (float[N, 4, H, W] y) { y = Conv (x, w) }"""


def network() -> onnx.ModelProto:
    model = parser.parse_model(NET)
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return model


def text_model(graph: str) -> Write:
    return lambda path: onnx.save(parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{graph}'), path)


def external(location: str, length: int = 432) -> Write:
    def write(path: Path) -> None:
        model = network()
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
        path.write_bytes(model.SerializeToString())

    return write


def cycle(path: Path) -> None:
    nodes = [helper.make_node("Relu", ["b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    graph = helper.make_graph(nodes, "g", [], [helper.make_tensor_value_info("a", 1, [1])])
    path.write_bytes(helper.make_model(graph).SerializeToString())


def no_file(_path: Path) -> None:
    return None


BAD_MODELS: dict[str, tuple[Write, str]] = {
    "missing": (no_file, "no such file"),
    "directory": (Path.mkdir, "folder"),
    "empty": (Path.touch, "empty"),
    "random bytes": (lambda p: p.write_bytes(np.random.default_rng(1).bytes(4096)), "not"),
    "truncated": (lambda p: p.write_bytes(network().SerializeToString()[:-200]), ""),
    "text": (lambda p: p.write_text("hello, this is no model\n" * 10), "not"),
    "dangling input": (text_model("g (float[1] x) => (float[1] y) { y = Add (x, nowhere) }"), "nowhere"),
    "cycle": (cycle, "cycle"),
    "external data missing": (external("weights.bin"), "weights.bin"),
    "external data outside": (external("../weights.bin"), "../weights.bin"),
    "external data absolute": (external("/etc/passwd"), "/etc/passwd"),
}


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr; a traceback anywhere fails the test."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert "Traceback" not in result.output
    return result.exit_code, result.stdout, result.stderr


def assert_refused(result: tuple[int, str, str], code: int, *words: str) -> None:
    exit_code, out, err = result
    assert exit_code == code, err
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("onnxcomp: ")
    for word in words:
        assert word.lower() in err.lower()


@pytest.mark.parametrize("name", BAD_MODELS)
@pytest.mark.parametrize("command", ["optimize", "inspect", "verify", "bench"])
def test_bad_models_are_refused(name: str, command: str, tmp_path: Path) -> None:
    write, word = BAD_MODELS[name]
    source, target = tmp_path / "in" / "model.onnx", tmp_path / "out.onnx"
    source.parent.mkdir()
    write(source)
    arguments = {"optimize": [source, target], "verify": [source, source]}.get(command, [source])
    assert_refused(run(command, *arguments), 2, "model.onnx", word)
    assert not target.exists()
    assert os.listdir(tmp_path) == ["in"]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.onnx"
    onnx.save(network(), path)
    return path


OPTIONS: dict[str, tuple[list[str], int, str]] = {
    "unknown pass": (["--passes", "magic"], 2, "unknown pass 'magic'; installed: drop-identity"),
    "unknown pass option": (["--passes", "sparse-conv{deep=1}"], 2, "no option 'deep'; it has: when, min_zeros"),
    "bad pass option": (["--passes", "sparse-conv{min_zeros=many}"], 2, "min_zeros"),
    "unclosed brace": (["--passes", "sparse-conv{when=always"], 2, "never closed"),
    "empty pipeline": (["--passes", ""], 2, "a pass's name is expected at position 1"),
    "include matches nothing": (["--include", "^nothing$"], 2, "--include '^nothing$' matches no node"),
    "exclude is no pattern": (["--exclude", "("], 2, "not a regular expression"),
    "unknown option": (["--fast"], 2, "--fast"),
    "max-drop without labels": (["--max-drop", "1"], 2, "--min-agreement"),
    "target size": (["--target-size", "small"], 2, "'small' is not a size"),
    "negative error": (["--max-error", "-1"], 2, "--max-error"),
    "replay of nothing": (["--replay", "missing.json"], 2, "missing.json"),
    "gain required": (["--require-gain"], 5, "--require-gain"),
    "report of no kind": (["--report", "report.pdf"], 2, ".html or .md"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options_are_refused(name: str, good: Path, tmp_path: Path) -> None:
    arguments, code, words = OPTIONS[name]
    assert_refused(run("optimize", good, tmp_path / "out.onnx", *arguments), code, words)
    assert os.listdir(tmp_path) == ["good.onnx"]


DATA: dict[str, tuple[Write, str]] = {
    "wrong name": (lambda p: np.savez(p, a=np.zeros((1, 3, 8, 8), "f4"), b=np.zeros(1)), "the model's inputs are 'x'"),
    "wrong shape": (lambda p: np.savez(p, x=np.zeros((1, 4, 8, 8), "f4")), "[1, 4, 8, 8]"),
    "wrong type": (lambda p: np.savez(p, x=np.array([["a"]])), "float32"),
    "a pickle": (lambda p: p.write_bytes(pickle.dumps({"x": 1})), "data.npz"),
    "objects": (lambda p: np.savez(p, x=np.array([{}], dtype=object), allow_pickle=True), "pickle"),
    "no samples": (lambda p: np.savez(p, x=np.zeros((0, 3, 8, 8), "f4")), "no samples"),
    "nothing there": (no_file, "data.npz"),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("command", ["optimize", "verify", "bench"])
def test_bad_data_is_refused(name: str, command: str, good: Path, tmp_path: Path) -> None:
    write, word = DATA[name]
    data = tmp_path / "data.npz"
    write(data)
    before = sorted(os.listdir(tmp_path))
    arguments = {"optimize": [good, tmp_path / "out.onnx"], "verify": [good, good]}.get(command, [good])
    assert_refused(run(command, *arguments, "--data", data), 2, "data.npz", word)
    assert sorted(os.listdir(tmp_path)) == before


def test_out_in_no_folder_is_refused(good: Path, tmp_path: Path) -> None:
    assert_refused(run("optimize", good, tmp_path / "no" / "out.onnx"), 2, "out.onnx", "folder")


def test_out_that_is_a_folder_is_refused(good: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert_refused(run("optimize", good, tmp_path / "out"), 2, "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_out_in_an_unwritable_folder_is_refused(good: Path, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert_refused(run("optimize", good, folder / "out.onnx"), 2, "out.onnx")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """/dev/full fails every write with ENOSPC; a limit on file size does the same to a rename-into-place writer."""
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(network(), source)
    target.write_bytes(b"earlier")
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (256, 256));"
        "sys.argv = sys.argv[1:]; from onnxcomp.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "onnxcomp", "optimize", str(source), str(target)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "out.onnx" in done.stderr
    assert target.read_bytes() == b"earlier"
    assert sorted(os.listdir(tmp_path)) == ["in.onnx", "out.onnx"]


def test_out_may_be_in(good: Path) -> None:
    before = onnx.load(good)
    assert run("optimize", good, good, "--quiet")[0] == 0
    assert onnx.load(good) == before


def passes_through(model: onnx.ModelProto, tmp_path: Path) -> dict[str, Any]:
    source, target, report = tmp_path / "in.onnx", tmp_path / "out.onnx", tmp_path / "r.json"
    onnx.save(model, source)
    code, _, err = run("optimize", source, target, "--quiet", "--json", report)
    assert (code, err) == (0, "")
    assert onnx.load(target) == onnx.load(source)
    document: dict[str, Any] = json.loads(report.read_text())
    return document


def test_an_unknown_domain_passes_through(tmp_path: Path) -> None:
    model = network()
    model.graph.node[0].output[0] = "c"
    model.graph.node.append(helper.make_node("Mystery", ["c"], ["y"], domain="com.example", level=3))
    model.opset_import.append(helper.make_opsetid("com.example", 2))
    report = passes_through(model, tmp_path)
    assert report["layers"][0]["method"] == "dense"


def test_a_model_without_convolutions_passes_through(tmp_path: Path) -> None:
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>\ng (float[1] x) => (float[1] y) { y = Exp (x) }'
    )
    assert passes_through(model, tmp_path)["layers"] == []


def test_dimensions_of_size_zero_pass_through(tmp_path: Path) -> None:
    model = network()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 0
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 0
    passes_through(model, tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_left_alone(value: float, tmp_path: Path) -> None:
    model = network()
    weight = np.zeros((4, 3, 3, 3), np.float32)
    weight[0, 0, 0, 0] = value
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    assert "NaN or Inf" in passes_through(model, tmp_path)["layers"][0]["reason"]


def test_a_model_that_cannot_run_here_is_left_as_it_is(tmp_path: Path) -> None:
    model = network()
    weight = np.zeros((4, 3, 3, 3), np.float32)
    weight[:, 0, 0, 0] = 1
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.tile(weight, (16, 1, 1, 1)), "w"))
    model.graph.node[0].output[0] = "c"
    model.graph.node.append(helper.make_node("Mystery", ["c"], ["y"], domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 2))
    for dim in model.graph.output[0].type.tensor_type.shape.dim:
        dim.Clear()
    report = passes_through(model, tmp_path)
    assert any("neither verified nor measured" in note for note in report["notes"])
