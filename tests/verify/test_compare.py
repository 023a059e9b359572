"""Whole models compared: equal ones, different ones, other interfaces, and bounded memory."""

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser

from onnxcomp.calibration import Data, open_data
from onnxcomp.errors import DataError, ModelError
from onnxcomp.runtime.session import Feed, run
from onnxcomp.verify import Comparison, Reference, Tolerance, compare, comparison

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
X = ("x", np.float32, ["N", 3])


def model(text: str) -> bytes:
    return parser.parse_model(HEAD + text).SerializeToString()


def scaled(factor: float, extra: str = "") -> bytes:
    return model(f"g (float[N, 3] x) => (float[N, 3] y) <float f = {{{factor}}}> {{ y = Mul(x, f) {extra} }}")


def data(count: int = 10) -> Data:
    return open_data({"x": np.random.default_rng(0).standard_normal((count, 3))}, [X])


def against(a: bytes | Path, b: bytes | Path, **options: object) -> Comparison:
    return compare(a, b, data(), threads=1, library=False, **options)


def test_equal_models() -> None:
    result = against(scaled(2), scaled(2), batch=3)
    assert result.passed and result.reason is None and result.inputs == 10
    assert [(output.name, output.elements) for output in result.outputs] == [("y", 30)]


def test_different_models() -> None:
    result = against(scaled(2), scaled(2.01))
    assert not result.passed and "output 'y': relative L2 error 0.005" in (result.reason or "")
    assert result.outputs[0].rel_l2 == pytest.approx(0.005, rel=1e-3)
    assert against(scaled(2), scaled(2.01), max_error=0.01).passed
    assert against(scaled(2), scaled(2.01), rtol=0.006).passed
    assert not against(scaled(2), scaled(2.01), rtol=0.004).passed


def test_the_batch_does_not_matter() -> None:
    one, all_ = (against(scaled(2), scaled(2.01), batch=batch).outputs[0] for batch in (1, 10))
    assert (one.max_abs, one.p99_abs, one.argmax_agreement) == (all_.max_abs, all_.p99_abs, all_.argmax_agreement)
    assert one.rel_l2 == pytest.approx(all_.rel_l2)


@pytest.mark.parametrize(("kept", "runs"), [(10 * 3 * 4, 4), (10 * 3 * 4 - 1, 12)])
def test_a_reference_is_run_once_where_its_outputs_are_small(
    kept: int, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = Reference(scaled(2), data(), threads=1, batch=3, library=False, max_bytes=kept)
    asked: list[str] = []

    def counted(session: object, feed: Feed, name: str) -> list[object]:
        asked.append(name)
        return run(session, feed, name)

    monkeypatch.setattr(comparison, "run", counted)
    found = [reference.compare(scaled(factor), Tolerance()) for factor in (2.0, 2.01, 2.02)]
    assert [one.passed for one in found] == [True, False, False]
    fresh = [against(scaled(2), scaled(factor), batch=3) for factor in (2.0, 2.01, 2.02)]
    assert [one.outputs for one in found] == [one.outputs for one in fresh]
    assert len(asked) == runs + 12 + 24  # of the reference, of the others, of those compared alone


def test_json_has_the_names_of_the_contract() -> None:
    found = json.loads(json.dumps(against(scaled(2), scaled(3)).to_json(), allow_nan=False))
    assert {"passed", "inputs", "rewrite_max_rel_error", "outputs"} <= set(found)
    assert {"name", "max_abs", "rel_l2", "cosine", "argmax_agreement"} <= set(found["outputs"][0])
    assert found["rewrite_max_rel_error"] is None and found["tolerance"]["max_error"] == 1e-3


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("g (float[N, 3] x) => (float[N, 3] z) { z = Identity(x) }", "different outputs: 'y' tensor.* against 'z'"),
        ("g (float[N, 3] z) => (float[N, 3] y) { y = Identity(z) }", "different inputs: 'x' .* against 'z'"),
        (
            "g (float[N, 3] x) => (double[N, 3] y) { y = Cast<to = 11>(x) }",
            r"tensor\(float\) against 'y' tensor\(double\)",
        ),
        ("g (float[N, 3] x) => (float[N, 3] y, float[N, 3] z) { y = Neg(x) z = Neg(x) }", "against 'y' .*, 'z'"),
    ],
)
def test_another_interface(other: str, message: str) -> None:
    result = against(scaled(1), model(other))
    assert not result.passed and result.inputs == 0 and result.outputs == ()
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(result.reason)


def test_outputs_in_another_order() -> None:
    text = "g (float[N, 3] x) => (float[N, 3] %s, float[N, 3] %s) {{ y = Neg(x) z = Abs(x) }}".replace(
        "{{", "{"
    ).replace("}}", "}")
    assert not against(model(text % ("y", "z")), model(text % ("z", "y"))).passed


def test_another_shape_at_run_time() -> None:
    flat = model("g (float[N, 3] x) => (float[N, M] y) <int64[2] s = {1, -1}> { y = Reshape(x, s) }")
    free = model("g (float[N, 3] x) => (float[N, M] y) { y = Identity(x) }")
    result = against(free, flat)
    assert not result.passed and "its shape is [8, 3] in one and [1, 24] in the other" in (result.reason or "")


def test_a_model_that_fails_where_the_reference_runs() -> None:
    picky = model("g (float[N, 3] x) => (float[N, 3] y) <int64[2] s = {4, 3}> { y = Reshape(x, s) }")
    result = against(scaled(1), picky)
    assert not result.passed and "fails on inputs x float32[8, 3]" in (result.reason or "")
    assert "\n" not in (result.reason or "")
    with pytest.raises(ModelError, match="fails on inputs"):
        against(picky, scaled(1))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.onnx", tmp_path / "bad.onnx"
    good.write_bytes(scaled(1))
    bad.write_bytes(b"no model")
    assert against(good, good).passed
    with pytest.raises(ModelError, match=r"bad\.onnx: ONNX Runtime .* cannot load it"):
        against(good, bad)
    with pytest.raises(ModelError, match=r"gone\.onnx: no such file"):
        against(good, tmp_path / "gone.onnx")


def test_data_that_ends_in_error_is_the_users_to_hear() -> None:
    def feeds() -> Iterator[np.ndarray]:
        yield np.zeros((2, 3))
        yield np.zeros((2, 4))

    with pytest.raises(DataError, match="the data has"):
        compare(scaled(1), scaled(1), open_data(feeds, [X]), threads=1, library=False)


def test_outputs_that_are_no_tensors() -> None:
    listed = model("g (float[N, 3] x) => (seq(float[N]) y) { y = SplitToSequence<axis = 1, keepdims = 0>(x) }")
    result = against(listed, listed)
    assert not result.passed and "only tensors can be compared" in (result.reason or "")


def test_memory_does_not_grow_with_the_data() -> None:
    """Batches whose outputs take 4 MB each, 64 MB a model: never more than a few at a time."""
    wide = model("g (float[N, 1] x) => (float[N, 1000000] y) <int64[2] s = {1, 1000000}> { y = Expand(x, s) }")

    def feeds() -> Iterator[np.ndarray]:
        for i in range(16):
            yield np.full((1, 1), i)

    source = open_data(feeds, [("x", np.float32, ["N", 1])])
    tracemalloc.start()
    try:
        assert compare(wide, wide, source, threads=1, library=False).passed
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 << 20


def test_a_trained_model_and_its_folded_form(shared: Path) -> None:
    a, b = (shared / "models" / f"resnet20_cifar10{suffix}.onnx" for suffix in ("", "_folded"))
    images = np.load(shared / "data" / "cifar10_test_clean.npz")["x"][:50].transpose(0, 3, 1, 2)
    spec = ("input", np.float32, ["N", 3, 32, 32])
    normalised = (images / 255 - [[[0.485]], [[0.456]], [[0.406]]]) / [[[0.229]], [[0.224]], [[0.225]]]
    name = onnx.load(a).graph.input[0].name
    result = compare(a, b, open_data({name: normalised}, [(name, *spec[1:])]), threads=1, library=False)
    assert result.passed and result.inputs == 50
    (output,) = result.outputs
    assert output.rel_l2 is not None and 0 < output.rel_l2 < 1e-5 and output.argmax_agreement == 1
