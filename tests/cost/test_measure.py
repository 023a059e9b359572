"""Measuring real sessions: the right nodes, sane orders of size, nothing left behind."""

import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper, parser

from onnxcomp.cost.layers import LayerClass, dense_model
from onnxcomp.cost.measure import BoundCall, _by_turns, aligned, bound, conv_ms, measure, node_rounds, node_times
from onnxcomp.cost.turns import WARM_UP
from onnxcomp.errors import ModelError
from onnxcomp.runtime.session import session

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
LAYER = LayerClass(3, 32, 32, 16)


def model(text: str) -> bytes:
    return parser.parse_model(HEAD + text).SerializeToString()


def chain(length: int) -> bytes:
    """Multiplications of 256 x 256 matrices one after the other."""
    w = np.random.default_rng(0).standard_normal((256, 256), np.float32) / 16
    nodes = [helper.make_node("MatMul", [f"x{i}", "w"], [f"x{i + 1}"], f"step{i}") for i in range(length)]
    values = [helper.make_tensor_value_info(name, 1, [256, 256]) for name in ("x0", f"x{length}")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [numpy_helper.from_array(w, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


MATRIX = {"x0": np.random.default_rng(1).standard_normal((256, 256), np.float32)}


def test_sixteen_times_the_work_takes_longer() -> None:
    one, sixteen = measure([chain(1), chain(16)], MATRIX, threads=1, seconds=0.1, library=False)
    assert 0 < one < sixteen


def test_nodes_by_name() -> None:
    short, long = node_times([chain(1), chain(4)], MATRIX, threads=1, min_rounds=3, library=False)
    assert [node.name for node in short] == ["step0"]
    assert sorted(node.name for node in long) == ["step0", "step1", "step2", "step3"]
    assert {node.op for node in long} == {"MatMul"} and all(ms > 0 for ms in long.values())


def test_nodes_round_by_round() -> None:
    once, four = node_rounds([chain(1), chain(4)], MATRIX, threads=1, rounds=3, library=False)
    assert all(times.shape == (3,) and (times > 0).all() for times in (*once.values(), *four.values()))
    assert len(once) == 1 and len(four) == 4


def test_what_is_hopeless_has_fewer_rounds() -> None:
    once, many = node_rounds([chain(1), chain(16)], MATRIX, threads=1, rounds=9, library=False, hopeless=1.25)
    assert {times.shape for times in (*once.values(), *many.values())} == {(4,)}


def test_a_round_is_the_median_of_its_calls_but_the_first() -> None:
    before = [100.0] * (1 + WARM_UP)
    assert _by_turns([*before, 9, 1, 2, 6, 9, 3, 4, 5], 2).tolist() == [2, 4]
    assert _by_turns([*before, 1, 2, 3], 3).tolist() == [1, 2, 3]


def test_a_convolution_without_the_reorders_around_it() -> None:
    weight = np.random.default_rng(0).standard_normal((32, 32, 3, 3), np.float32)
    feed = {"X": np.ones((1, 32, 16, 16), np.float32)}
    (times,) = node_times([dense_model(LAYER, weight)], feed, threads=1, min_rounds=3, library=False)
    convolutions = [ms for node, ms in times.items() if node.op in ("Conv", "FusedConv")]
    assert len(convolutions) == 1 and conv_ms(times) == convolutions[0]


def test_unnamed_nodes_stay_apart() -> None:
    text = "g (float[N] x) => (float[N] y) { a = Sin(x) b = Cos(a) c = Sin(b) y = Cos(c) }"
    (times,) = node_times([model(text)], {"x": np.ones(9, np.float32)}, threads=1, min_rounds=2, library=False)
    assert sorted(node.op for node in times) == ["Cos", "Cos", "Sin", "Sin"]


def test_profiles_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    node_times([chain(1)], MATRIX, threads=1, min_rounds=2, library=False)
    with pytest.raises(ModelError):
        node_times([chain(1)], {"x0": np.ones((2, 2), np.float32)}, threads=1, min_rounds=2, library=False)
    assert list(tmp_path.iterdir()) == []


def test_bound_calls_answer_like_ordinary_ones() -> None:
    plain = session(chain(2), threads=1, library=False)
    call = bound(plain, {**MATRIX, "unused": np.zeros(1)})
    assert isinstance(call, BoundCall)
    gc.collect()
    others = [np.full((256, 256), np.nan, np.float32) for _ in range(64)]  # would take the place of inputs let go
    call()
    np.testing.assert_array_equal(call.binding.copy_outputs_to_cpu()[0], plain.run(None, MATRIX)[0])
    assert len(others) == 64


def test_outputs_that_cannot_be_bound_are_run_the_ordinary_way() -> None:
    listed = model("g (float[N, 3] x) => (seq(float[N]) y) { y = SplitToSequence<axis = 1, keepdims = 0>(x) }")
    (outputs,) = bound(session(listed, threads=1, library=False), {"x": np.ones((2, 3), np.float32)})()
    assert len(outputs) == 3


def test_inputs_that_are_missing_or_do_not_fit() -> None:
    with pytest.raises(ModelError, match=r"m\.onnx: nothing to feed its input 'x0'"):
        bound(session(chain(1), threads=1, library=False), {"y": np.ones(1)}, "m.onnx")
    with pytest.raises(ModelError, match=r"fails on inputs x0 float32\[3, 3\]"):
        measure([chain(1)], {"x0": np.ones((3, 3), np.float32)}, threads=1, library=False)


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (3, 5, 7)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.bool_, np.float64])
def test_aligned_copies(shape: tuple[int, ...], dtype: type) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    copy = aligned(array)
    assert array.size == 0 or copy.ctypes.data % 64 == 0
    assert copy.dtype == array.dtype and copy.shape == array.shape
    np.testing.assert_array_equal(copy, array)
