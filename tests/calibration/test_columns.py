"""Columns times weights are what ONNX Runtime's Conv gives, for whatever attributes; and a naive loop agrees."""

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from onnxcomp.calibration.columns import ConvColumns, LinearColumns, choose


def conv(x: np.ndarray, weight: np.ndarray, attributes: dict[str, Any]) -> np.ndarray:
    """The Conv's output by ONNX Runtime."""
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    graph = helper.make_graph([node], "g", value[:1], value[1:], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@st.composite
def convs(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    axes, group = draw(st.integers(1, 2)), draw(st.sampled_from([1, 2, 3]))
    C_in, C_out = draw(st.integers(1, 3)), draw(st.integers(1, 2))

    def sizes(low: int, high: int, count: int = axes) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    kernel = sizes(1, 3)
    attributes: dict[str, Any] = {"group": group}
    if draw(st.booleans()):
        attributes["strides"] = sizes(1, 3)
    auto_pad = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", None]))
    if auto_pad is None or auto_pad == "NOTSET":
        attributes["pads"] = sizes(0, 2, 2 * axes)
    if auto_pad:
        attributes["auto_pad"] = auto_pad
    if auto_pad in (None, "NOTSET", "VALID"):
        attributes["dilations"] = sizes(1, 2)
    return (2, C_in * group, *sizes(5, 8)), (C_out * group, C_in, *kernel), attributes


@settings(max_examples=60)
@given(convs())
def test_columns_times_weights_are_the_output(case: tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]) -> None:
    input_shape, weight_shape, attributes = case
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal(input_shape, np.float32), rng.standard_normal(weight_shape, np.float32)
    columns, y = ConvColumns.of(attributes, weight_shape[2:]), conv(x, weight, attributes)
    group = columns.group
    assert columns.places(x.shape) == (2, y[0, 0].size)
    for chosen in (None, choose(1, 0, 2, y[0, 0].size, 3)):
        X = columns.inputs(x, chosen)
        found = np.einsum("ngq,goq->ngo", X, weight.reshape(group, weight_shape[0] // group, -1))
        np.testing.assert_allclose(found.reshape(len(X), -1), columns.outputs(y, chosen), atol=1e-4)


def test_a_naive_loop() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 6), np.float32)
    columns = ConvColumns.of({"strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 0, 2]}, (3, 2))
    padded = np.zeros((2, 6, 8), np.float32)
    padded[:, 1:, :6] = x[0]
    expected = [
        [padded[c, i + u, j + 2 * v] for c in range(2) for u in range(3) for v in range(2)]
        for i in range(0, 4, 2)
        for j in range(6)
    ]
    np.testing.assert_array_equal(columns.inputs(x, None)[:, 0], expected)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 5, 4)])
def test_linear_layers(shape: tuple[int, ...]) -> None:
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    samples, places = LinearColumns().places(shape)
    np.testing.assert_array_equal(LinearColumns().inputs(x, None)[:, 0], x.reshape(samples * places, 4))
    chosen = np.array([[2, 0]] * samples) if places > 2 else None
    if chosen is not None:
        np.testing.assert_array_equal(LinearColumns().inputs(x, chosen)[:, 0], x[:, [2, 0]].reshape(-1, 4))


def test_positions_do_not_depend_on_batches() -> None:
    whole, rest = choose(3, 0, 5, 100, 7), choose(3, 2, 3, 100, 7)
    assert whole is not None and rest is not None and whole.shape == (5, 7)
    np.testing.assert_array_equal(whole[2:], rest)
    assert all(len(set(row)) == 7 for row in whole.tolist())
    assert choose(3, 0, 5, 7, 7) is None
