"""BasisConv nodes that are wrong are refused with a message that says what is wrong, and never read past an end.

What they have in common with SparseConv, test_hostile_models.py asks of that.
"""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto

from onnxcomp.errors import ModelError
from onnxcomp.formats import basis_conv
from onnxcomp.runtime import session as runtime
from tests.runtime.basis_models import BasisCase, basis_case, basis_model
from tests.runtime.hostile import Change, assert_refused, flip, stripped, with_attribute, with_input, with_tensor
from tests.runtime.sparse_models import random_case


def small_case(op: str = "BasisConv", **attributes: Any) -> BasisCase:
    # 5 x 6 x 3 = 90 coefficients: the mask's last byte has six bits to spare.
    case = random_case((5, 6, 3, 3), (1, 6, 8, 8), pads=[1, 1, 1, 1], **attributes)
    case.epilogue = basis_conv.EPILOGUES[op]
    if case.epilogue.residual:
        case.z = np.zeros((1, 5, 8, 8), np.float32)
    return basis_case(case, 3)


def small_model(op: str = "BasisConv", **attributes: Any) -> ModelProto:
    return stripped(basis_model(small_case(op, **attributes)))


REFUSED_ATTRIBUTES = [
    ("coefficients_shape", None, "coefficients_shape is missing"),
    ("coefficients_shape", [5, 18], "2 dimensions"),
    ("coefficients_shape", [5, 6, 3, 1], "4 dimensions"),
    ("coefficients_shape", [5, 0, 3], "below 1"),
    ("coefficients_shape", [-5, -6, 3], "below 1"),
    ("coefficients_shape", [2**31, 2, 3], "more than 2147483648 elements"),
    ("coefficients_shape", [2**62, 2, 3], "more than 2147483648 elements"),
    ("coefficients_shape", [1, 1, 2**17], "more than 65536 bases"),
    ("coefficients_shape", [5, 6, 2], "bases has shape 3x3x3, coefficients_shape is 5x6x2"),
    ("coefficients_shape", [2**20, 2**9, 3], "more than 2147483648 elements"),
    ("coefficients_shape", [6, 6, 3], "B has shape 5"),
    ("coefficients_shape", [5, 7, 3], "mask has 12 bytes, a weight of 105 elements needs 14"),
    ("coefficients_shape", 3, "coefficients_shape must be a list of integers"),
    ("to", None, "to is missing"),
    ("to", 10, "float32"),
    ("group", 2, "group 2 does not divide the 5 output channels"),
    ("strides", [1], "strides has 1 values"),
    ("kernel_shape", [3, 5], "does not agree"),
]

REFUSED_TENSORS: list[tuple[str, Change, str]] = [
    ("bases", lambda bases: bases[:2], "bases has shape 2x3x3"),
    ("bases", lambda bases: bases[:0], "bases has shape 0x3x3"),
    ("bases", lambda bases: bases[:, :0], "the weight's shape 5x6x0x3 has a dimension below 1"),
    ("bases", lambda bases: bases[:, 0, 0], "bases has shape 3"),
    ("bases", lambda bases: bases[None], "bases has shape 1x3x3x3"),
    ("bases", lambda bases: np.zeros((3, 300, 300), np.float32), "more than 65536 taps"),
    ("mask", lambda mask: mask[:-1], "mask has 11 bytes"),
    ("mask", flip(11, 7), "past the weight's last element"),
    ("mask", flip(0, 0), "marks"),
    ("values", lambda values: values[:-1], "marks"),
    ("values", lambda values: values.astype(np.float64), "float32 or float16"),
    ("B", lambda bias: bias[:-1], "B has shape 4"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED_ATTRIBUTES)
def test_attribute_is_refused(name: str, value: Any, message: str) -> None:
    assert_refused(with_attribute(small_model(), name, value), message)


@pytest.mark.parametrize(("name", "change", "message"), REFUSED_TENSORS)
def test_constant_is_refused(name: str, change: Change, message: str) -> None:
    assert_refused(with_tensor(small_model(), name, change), message)


def test_bases_of_another_type_are_refused() -> None:
    """By the runtime itself, which knows what the operator takes."""
    model = with_tensor(small_model(), "bases", lambda bases: bases.astype(np.float64))
    with pytest.raises(ModelError, match="bases"):
        runtime.session(model.SerializeToString(), threads=1)


@pytest.mark.parametrize(("name", "element_type"), [("bases", TensorProto.FLOAT), ("mask", TensorProto.UINT8)])
def test_what_is_no_constant_is_refused(name: str, element_type: int) -> None:
    model = with_input(small_model(), name, element_type, ["n", "h", "w"][: 3 if name == "bases" else 1])
    assert_refused(model, f"{name} must be a constant")


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        ("BasisConvClip", {"clip_min": 0.0}, "clip_max is missing"),
        ("BasisConvAddLeakyRelu", {"alpha": float("inf")}, "alpha is infinite"),
    ],
)
def test_activation_attribute_is_refused(op: str, attributes: dict[str, Any], message: str) -> None:
    assert_refused(small_model(op, **attributes), message)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 6, 8), "a rank of 4"),
        ((1, 5, 8, 8), "the weight needs 6 channels"),
        ((1, 6, 0, 8), "fewer than the kernel"),
    ],
)
def test_input_is_refused(shape: tuple[int, ...], message: str) -> None:
    model = small_model()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    session = runtime.session(model.SerializeToString(), threads=1)
    with pytest.raises(ModelError, match=message):
        runtime.run(session, {"X": np.zeros(shape, np.float32)})


def test_residual_of_another_shape_is_refused() -> None:
    model = small_model("BasisConvAdd")
    model.graph.input[1].type.tensor_type.ClearField("shape")
    session = runtime.session(model.SerializeToString(), threads=1)
    with pytest.raises(ModelError, match="Z has shape"):
        runtime.run(session, {"X": small_case().conv.x, "Z": np.zeros((1, 5, 8, 7), np.float32)})


def test_far_apart_taps_run() -> None:
    """Nothing is allocated in proportion to dilations, strides or pads."""
    attributes = {"dilations": [2**29] * 2, "pads": [2**30] * 4, "strides": [2**30] * 2}
    case = basis_case(random_case((2, 3, 3, 3), (1, 3, 5, 5), density=1, **attributes), 2)
    model = stripped(basis_model(case))
    y = runtime.run(runtime.session(model.SerializeToString(), threads=1), case.conv.feed)[0]
    # Output 0 sees the input's first element under its last tap, output 1 under its first.
    corners = case.conv.weight[:, :, ::-2, ::-2]
    expected = case.conv.bias[:, None, None] + np.einsum("ocij,c->oij", corners, case.conv.x[0, :, 0, 0])
    assert np.allclose(y[0], expected, atol=1e-5)
