"""Sessions: options, the library registered once, and ORT's messages on one line."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import parser

from onnxcomp.cost.layers import LayerClass, dense_model, sparse_model
from onnxcomp.errors import ModelError, OnnxcompError
from onnxcomp.runtime import loader
from onnxcomp.runtime.session import default_threads, library_path, reason, register, run, runs, session

HEAD = '<ir_version: 8, opset_import: ["" : 17, "ai.onnxcomp" : 1]>'
DOUBLE = "g (float[N, 3] x) => (float[N, 3] y) { y = Add(x, x) }"


def model(text: str) -> bytes:
    return parser.parse_model(HEAD + text).SerializeToString()


def library_missing() -> bool:
    try:
        library_path()
    except OnnxcompError:
        return True
    return False


needs_library = pytest.mark.skipif(library_missing(), reason="the extension library is not built")


def test_runs_from_a_path_and_from_memory(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model(DOUBLE))
    for source in (model(DOUBLE), tmp_path / "m.onnx", str(tmp_path / "m.onnx")):
        loaded = session(source, threads=1, library=False)
        assert loaded.get_providers() == ["CPUExecutionProvider"]
        np.testing.assert_array_equal(run(loaded, {"x": np.ones((1, 3), np.float32)})[0], [[2, 2, 2]])


def test_threads() -> None:
    assert session(model(DOUBLE), threads=3, library=False).get_session_options().intra_op_num_threads == 3
    found = session(model(DOUBLE), library=False).get_session_options().intra_op_num_threads
    assert found == default_threads() >= 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "graph"),
        (b"random bytes", "protobuf parsing failed"),
        (
            model("g (float[N, 3] x) => (float[N, 3] y) { y = ai.onnxcomp.Nothing(x) }"),
            "is not a registered function/op",
        ),
        (model("g (float[2, 3] x) => (float[2, 2] y) { y = MatMul(x, x) }"), "Incompatible dimensions"),
    ],
)
def test_models_that_cannot_be_loaded(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    for source, name in ((tmp_path / "m.onnx", "m.onnx"), (content, "the model in memory")):
        with pytest.raises(ModelError, match=f"(?i){name}: ONNX Runtime .* cannot load it: .*{message}") as caught:
            session(source, threads=1, library=False)
        assert "\n" not in str(caught.value) and "ONNXRuntimeError" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["gone.onnx", "."])
def test_paths_that_are_no_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="no such file; give the path"):
        session(tmp_path / name, library=False)


def test_runs_that_fail(capfd: pytest.CaptureFixture[str]) -> None:
    loaded = session(model("g (float[N] x) => (float[4] y) <int64[1] s = {4}> { y = Reshape(x, s) }"), library=False)
    good, bad = ({"x": np.ones(n, np.float32)} for n in (4, 5))
    assert runs(loaded, good) and not runs(loaded, bad) and not runs(loaded, {})
    assert not runs(loaded, {"x": np.ones(4)})
    with pytest.raises(ModelError, match=r"big: fails on inputs x float32\[5\]: .*cannot be reshaped") as caught:
        run(loaded, bad, "big")
    assert "\n" not in str(caught.value) and "/onnxruntime" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_reasons_are_one_line() -> None:
    error = RuntimeError("[ONNXRuntimeError] : 1 : FAIL : Load model from a b.onnx failed:Node (n)\n is bad")
    assert reason(error) == "Node (n) is bad"


def test_a_missing_library_tells_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "LIBRARY", "libmissing.so")
    for call in (library_path, lambda: session(model(DOUBLE)), lambda: register(ort.SessionOptions())):
        with pytest.raises(OnnxcompError, match=r"libmissing\.so is missing from .*: reinstall onnxcomp, or build it"):
            call()


def test_a_library_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "LIBRARY", "session.py")
    with pytest.raises(OnnxcompError, match=r"session\.py: ONNX Runtime .* cannot use it"):
        register(ort.SessionOptions())


@needs_library
def test_registering_again_does_nothing() -> None:
    options = ort.SessionOptions()
    assert register(register(options)) is options
    weight = np.ones((4, 4, 1, 1), np.float32)
    loaded = ort.InferenceSession(sparse_model(LayerClass(1, 4, 4, 3), weight), options)
    assert runs(loaded, {"X": np.ones((1, 4, 3, 3), np.float32)})
    register(ort.SessionOptions())


@needs_library
def test_a_sparse_layer_with_and_without_the_library() -> None:
    layer = LayerClass(3, 16, 16, 8)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((16, 16, 3, 3), np.float32) * (rng.random((16, 16, 3, 3)) < 0.2)
    feed = {"X": rng.standard_normal((1, 16, 8, 8), np.float32)}
    dense = run(session(dense_model(layer, weight), 1, library=False), feed)[0]
    for library in (False, True):
        np.testing.assert_allclose(run(session(sparse_model(layer, weight), 1, library), feed)[0], dense, atol=1e-4)
