"""A network's piece with the threads woken first: the same answer, the same nodes, nothing before the waking."""

import numpy as np
import pytest
from onnx import parser

from onnxcomp.cost.layers import LayerClass, dense_model
from onnxcomp.cost.measure import node_times
from onnxcomp.cost.waking import times_inside, woken
from onnxcomp.runtime.session import run, session

LAYER = LayerClass(3, 16, 16, 32)
WEIGHT = np.random.default_rng(0).standard_normal(LAYER.weight_shape, np.float32)
X = np.random.default_rng(1).standard_normal(LAYER.x_shape, np.float32)
ZEROS = np.zeros((128, 128), np.float32)


def model(inputs: str, body: str, opset: int = 17) -> bytes:
    text = f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => (float[4] y) {{ {body} }}'
    return bytes(parser.parse_model(text).SerializeToString())


def feed_of(model: bytes, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`feed` under the names that the inputs of `model` have once it is woken; zeros for what wakes."""
    names = [node.name for node in session(model, 2).get_inputs()]
    return {name: feed.get(name.rpartition(": ")[2], ZEROS) for name in names}


def test_the_same_answer() -> None:
    plain = dense_model(LAYER, WEIGHT)
    after = woken(plain)
    (want,), (got,) = run(session(plain, 2), {"X": X}), run(session(after, 2), feed_of(after, {"X": X}))
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_nodes(threads: int) -> None:
    models = [dense_model(LAYER, WEIGHT)]
    (plain,) = node_times(models, {"X": X}, threads, min_rounds=2)
    (inside,) = times_inside(models, {"X": X}, threads, rounds=2)
    assert [(node.name, node.op) for node in inside] == [(node.name, node.op) for node in plain]
    assert all(ms > 0 for ms in inside.values())


def test_the_waking_comes_before_whatever_reads_an_input() -> None:
    after = woken(model("float[4] b, int64[1] at, float[4] a", "picked = Gather(a, at) y = Mul(picked, b)"))
    feed = {"a": np.arange(4, dtype=np.float32), "b": np.ones(4, np.float32), "at": np.array([2])}
    (times,) = node_times([after], feed_of(after, feed), 2, min_rounds=2)
    assert [node.op for node in times if node.op != "Add"] == ["MatMul", "ReduceMin", "Gather", "Mul"]
    assert [node.op for node in times].index("ReduceMin") < [node.op for node in times].index("Gather")
    (y,) = run(session(after, 2), feed_of(after, feed))
    assert y.tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(
    "as_it_is",
    [
        model("int64[4] x", "y = Cast<to = 1>(x)"),  # no float32 input
        model("float[4] x", "y = Relu(x)", opset=6),  # whose Add has no broadcasting
    ],
)
def test_what_cannot_be_woken_is_timed_as_it_is(as_it_is: bytes) -> None:
    assert woken(as_it_is) == as_it_is
