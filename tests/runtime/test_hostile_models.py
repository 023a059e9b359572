"""Models that are wrong are refused with a message that says what is wrong, and never read past an end."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto

from onnxcomp.errors import ModelError
from onnxcomp.formats import sparse_conv
from onnxcomp.runtime import session as runtime
from tests.runtime.hostile import Change, assert_refused, flip, stripped, with_attribute, with_input, with_tensor
from tests.runtime.sparse_models import Case, random_case, sparse_model


def small_case(op: str = "SparseConv", **attributes: Any) -> Case:
    # 5 x 6 x 3 x 3 = 270 elements: the mask's last byte has two bits to spare.
    case = random_case((5, 6, 3, 3), (1, 6, 8, 8), pads=[1, 1, 1, 1], **attributes)
    case.epilogue = sparse_conv.EPILOGUES[op]
    if case.epilogue.residual:
        case.z = np.zeros((1, 5, 8, 8), np.float32)
    return case


def small_model(op: str = "SparseConv", **attributes: Any) -> ModelProto:
    return stripped(sparse_model(small_case(op, **attributes)))


REFUSED_ATTRIBUTES = [
    ("weight_shape", None, "weight_shape is missing"),
    ("weight_shape", [5, 6], "2 dimensions"),
    ("weight_shape", [5, 6, 3, 3, 1], "5 dimensions"),
    ("weight_shape", [5, 6, 0, 3], "below 1"),
    ("weight_shape", [5, 6, -3, -3], "below 1"),
    ("weight_shape", [2**31, 2**31, 2**31, 4], "more than 2147483648 elements"),
    ("weight_shape", [2**62, 2, 2, 2], "more than 2147483648 elements"),
    ("weight_shape", [1, 1, 300, 300], "more than 65536 taps"),
    ("weight_shape", [5, 6, 3, 4], "mask has 34 bytes, a weight of 360 elements needs 45"),
    ("weight_shape", 3, "weight_shape must be a list of integers"),
    ("structure", None, "structure is missing"),
    ("structure", "n:16", "'n:16'"),
    ("structure", 1, "structure must be a string"),
    ("to", None, "to is missing"),
    ("to", 10, "float32"),
    ("to", "1", "to must be an integer"),
    ("group", 0, "group 0"),
    ("group", -1, "group -1"),
    ("group", 2, "group 2 does not divide the 5 output channels"),
    ("group", 2**62, "group"),
    ("strides", [0, 1], "strides holds 0"),
    ("strides", [1, -2], "strides holds -2"),
    ("strides", [2**40, 1], "strides holds"),
    ("strides", [1], "strides has 1 values"),
    ("strides", 1, "strides must be a list of integers"),
    ("dilations", [0, 1], "dilations holds 0"),
    ("dilations", [1, 1, 1], "dilations has 3 values"),
    ("pads", [1, 1], "pads has 2 values"),
    ("pads", [1, 1, -1, 1], "pads holds -1"),
    ("pads", [2**31, 0, 0, 0], "pads holds"),
    ("auto_pad", "SAME", "'SAME'"),
    ("auto_pad", 1, "auto_pad must be a string"),
    ("kernel_shape", [3, 5], "does not agree"),
    ("kernel_shape", [3], "does not agree"),
]

REFUSED_TENSORS: list[tuple[str, Change, str]] = [
    ("mask", lambda mask: mask[:-1], "mask has 33 bytes"),
    ("mask", lambda mask: np.append(mask, np.uint8(0)), "mask has 35 bytes"),
    ("mask", lambda mask: mask[:0], "mask has 0 bytes"),
    ("mask", lambda mask: mask[None], "rank 1"),
    ("mask", flip(33, 7), "past the weight's last element"),
    ("mask", flip(0, 0), "marks"),
    ("values", lambda values: values[:-1], "marks"),
    ("values", lambda values: values[:0], "marks"),
    ("values", lambda values: np.append(values, values[:1]), "marks"),
    ("values", lambda values: values[:, None], "rank 1"),
    ("values", lambda values: values.astype(np.float64), "float32 or float16"),
    ("values", lambda values: values.astype(np.int32), "float32 or float16"),
    ("B", lambda bias: bias[:-1], "B has shape 4"),
    ("B", lambda bias: bias[:, None], "B has shape 5x1"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED_ATTRIBUTES)
def test_attribute_is_refused(name: str, value: Any, message: str) -> None:
    assert_refused(with_attribute(small_model(), name, value), message)


@pytest.mark.parametrize(("name", "change", "message"), REFUSED_TENSORS)
def test_constant_is_refused(name: str, change: Change, message: str) -> None:
    assert_refused(with_tensor(small_model(), name, change), message)


def test_a_mask_that_is_no_constant_is_refused() -> None:
    assert_refused(with_input(small_model(), "mask", TensorProto.UINT8, ["n"]), "mask must be a constant")


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        ("SparseConvClip", {"clip_min": 0.0}, "clip_max is missing"),
        ("SparseConvClip", {"clip_min": float("nan"), "clip_max": 1.0}, "clip_min is not a number"),
        ("SparseConvClip", {"clip_min": 0, "clip_max": 1.0}, "clip_min must be a float"),
        ("SparseConvLeakyRelu", {}, "alpha is missing"),
        ("SparseConvAddLeakyRelu", {"alpha": float("inf")}, "alpha is infinite"),
    ],
)
def test_activation_attribute_is_refused(op: str, attributes: dict[str, Any], message: str) -> None:
    assert_refused(small_model(op, **attributes), message)


def open_session(case: Case, z_shape: list[int | str] | None = None) -> Any:
    """A session whose inputs may have any shape of any rank."""
    model = stripped(sparse_model(case))
    for value in model.graph.input:
        value.type.tensor_type.ClearField("shape")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return runtime.session(model.SerializeToString(), threads=1)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 6, 8), "X has shape 1x6x8, a rank of 4"),
        ((1, 6, 8, 8, 1), "a rank of 4"),
        ((), "a rank of 4"),
        ((1, 5, 8, 8), "the weight needs 6 channels"),
        ((1, 0, 8, 8), "the weight needs 6 channels"),
        ((1, 6, 0, 8), "fewer than the kernel's 3"),
        ((0, 6, 8, 0), "fewer than the kernel's 3"),
    ],
)
def test_input_is_refused(shape: tuple[int, ...], message: str) -> None:
    session = open_session(small_case())
    with pytest.raises(ModelError, match=message):
        runtime.run(session, {"X": np.zeros(shape, np.float32)})


@pytest.mark.parametrize("shape", [(1, 5, 8, 7), (2, 5, 8, 8), (1, 5, 1, 1), (5, 8, 8), (1, 5, 8, 0)])
def test_residual_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    case = small_case("SparseConvAdd")
    session = open_session(case)
    with pytest.raises(ModelError, match="Z has shape"):
        runtime.run(session, {"X": case.x, "Z": np.zeros(shape, np.float32)})


def test_bias_given_at_run_time_is_checked() -> None:
    session = runtime.session(with_input(small_model(), "B", TensorProto.FLOAT, ["n"]).SerializeToString(), threads=1)
    x = small_case().x
    with pytest.raises(ModelError, match="B has shape 4"):
        runtime.run(session, {"X": x, "B": np.zeros(4, np.float32)})
    assert runtime.run(session, {"X": x, "B": np.zeros(5, np.float32)})[0].shape == (1, 5, 8, 8)


def test_output_size_overflow_is_refused() -> None:
    case = small_case()
    case.attributes["pads"] = [2**31 - 1] * 4
    session = open_session(case)
    with pytest.raises(ModelError, match="overflows"):
        runtime.run(session, {"X": case.x})


def test_output_too_large_for_memory_is_refused() -> None:
    case = small_case()
    case.attributes["pads"] = [2**20, 2**24, 0, 0]  # 5 x 2^44 floats
    session = open_session(case)
    with pytest.raises(ModelError):
        runtime.run(session, {"X": case.x})


def test_far_apart_taps_run() -> None:
    """Nothing is allocated in proportion to dilations, strides or pads."""
    case = random_case(
        (2, 3, 3, 3), (1, 3, 5, 5), density=1, dilations=[2**29] * 2, pads=[2**30] * 4, strides=[2**30] * 2
    )
    y = runtime.run(runtime.session(stripped(sparse_model(case)).SerializeToString(), threads=1), case.feed)[0]
    # Output 0 sees the input's first element under its last tap, output 1 under its first.
    corners = case.weight[:, :, ::-2, ::-2]
    expected = case.bias[:, None, None] + np.einsum("ocij,c->oij", corners, case.x[0, :, 0, 0])
    assert np.allclose(y[0], expected, atol=1e-5)
