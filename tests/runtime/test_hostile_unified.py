"""UnifiedConv nodes that are wrong are refused with a message that says what is wrong, and never read past an end.

What they have in common with SparseConv, test_hostile_models.py asks of that.
"""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto

from onnxcomp.errors import ModelError
from onnxcomp.runtime import session as runtime
from tests.runtime.hostile import Change, assert_refused, flip, stripped, with_attribute, with_input, with_tensor
from tests.runtime.unified_models import unified_case, unified_model


def small_model(**attributes: Any) -> ModelProto:
    """A node of 2 x 1 x 9 blocks of 4x2: the kinds' last byte has four bits to spare, the last row of digits some."""
    case = unified_case((8, 2, 3, 3), (1, 2, 8, 8), (4, 2), (1.0, 0.5, 0.0), pads=[1, 1, 1, 1], seed=5, **attributes)
    assert (case.stored.scales.size, case.stored.values.size) == (9, 3 * 8)
    return stripped(unified_model(case))


REFUSED_ATTRIBUTES = [
    ("weight_shape", None, "weight_shape is missing"),
    ("weight_shape", [8, 18], "the weight has 2 dimensions"),
    ("weight_shape", [8, 0, 3, 3], "below 1"),
    ("weight_shape", [2**31, 2, 3, 3], "more than 2147483648 elements"),
    ("weight_shape", [2**62, 2, 3, 3], "more than 2147483648 elements"),
    ("weight_shape", [12, 2, 3, 3], "B has shape 8"),
    ("weight_shape", [8, 4, 3, 3], "kinds has 5 bytes, 36 blocks need 9 or none"),
    ("weight_shape", [8, 3, 3, 3], "blocks of 4x2 do not divide 8 output channels and 3 input channels"),
    ("block", None, "block is missing"),
    ("block", [4], "two numbers"),
    ("block", [4, 0], "two numbers"),
    ("block", [-4, -2], "two numbers"),
    ("block", [3, 2], "do not divide"),
    ("block", [2, 1], "kinds has 5 bytes"),
    ("block", [2**40, 2**40], "more than 256 weights"),
    ("block", [257, 1], "more than 256 weights"),
    ("block", [2**62, 4], "more than 256 weights"),
    ("block", 4, "block must be a list of integers"),
    ("levels", None, "levels is missing"),
    ("levels", [1.0], "levels has 1 values"),
    ("levels", [float(i) for i in range(10)], "levels has 10 values"),
    ("levels", [1.0, float("nan")], "levels are finite"),
    ("levels", [1.0, float("inf")], "levels are finite"),
    ("levels", [1.0, -1.0], "digits has shape"),
    ("levels", [1, -1], "levels must be a list of floats"),
    ("levels", 1.0, "levels must be a list of floats"),
    ("to", None, "to is missing"),
    ("to", 10, "float32"),
    ("group", 3, "group 3 does not divide the 8 output channels"),
    ("strides", [1], "strides has 1 values"),
    ("kernel_shape", [3, 5], "does not agree"),
]

REFUSED_TENSORS: list[tuple[str, Change, str]] = [
    ("kinds", lambda kinds: kinds[:-1], "kinds has 4 bytes, 18 blocks need 5 or none"),
    ("kinds", lambda kinds: kinds[:0], "scales has"),
    ("kinds", flip(4, 4), "past the weight's last block"),
    ("kinds", lambda kinds: kinds | 3, "says 3 of block 0"),
    ("kinds", lambda kinds: kinds * 0, "marks 0 unified blocks"),
    ("kinds", lambda kinds: kinds[None], "kinds must be uint8 of rank 1"),
    ("scales", lambda scales: scales[:-1], "unified blocks"),
    ("scales", lambda scales: np.full_like(scales, np.nan), "scale 0 is"),
    ("scales", lambda scales: np.full_like(scales, np.inf), "scale 0 is inf"),
    ("scales", lambda scales: -scales, "scales are positive and finite"),
    ("scales", lambda scales: scales * 0, "scales are positive and finite"),
    ("scales", lambda scales: scales.astype(np.float64), "scales must be float32 or float16"),
    ("digits", lambda digits: digits[:-1], "digits has shape"),
    ("digits", lambda digits: digits[:, :-1], "digits has shape"),
    ("digits", lambda digits: digits.ravel(), "digits must be uint8 of rank 2"),
    ("digits", lambda digits: digits | 255, "more than 16 digits of 5 levels"),
    (
        "digits",
        lambda digits: np.where(np.arange(len(digits))[:, None] < len(digits) - 1, digits, 20),
        "past the last",
    ),
    ("values", lambda values: values[:-1], "free blocks of 8"),
    ("values", lambda values: values.astype(np.float64), "values must be float32 or float16"),
    ("B", lambda bias: bias[:-1], "B has shape 7"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED_ATTRIBUTES)
def test_attribute_is_refused(name: str, value: Any, message: str) -> None:
    assert_refused(with_attribute(small_model(), name, value), message)


@pytest.mark.parametrize(("name", "change", "message"), REFUSED_TENSORS)
def test_constant_is_refused(name: str, change: Change, message: str) -> None:
    assert_refused(with_tensor(small_model(), name, change), message)


@pytest.mark.parametrize(
    ("name", "element_type", "rank"),
    [
        ("kinds", TensorProto.UINT8, 1),
        ("scales", TensorProto.FLOAT16, 1),
        ("digits", TensorProto.UINT8, 2),
        ("values", TensorProto.FLOAT, 1),
    ],
)
def test_weight_must_be_constant(name: str, element_type: int, rank: int) -> None:
    model = with_input(small_model(), name, element_type, ["n", "m"][:rank])
    assert_refused(model, f"{name} must be a constant")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 2, 8), "a rank of 4"),
        ((1, 4, 8, 8), "the weight needs 2 channels"),
        ((1, 2, 0, 8), "fewer than the kernel"),
    ],
)
def test_input_is_refused(shape: tuple[int, ...], message: str) -> None:
    model = small_model()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    session = runtime.session(model.SerializeToString(), threads=1)
    with pytest.raises(ModelError, match=message):
        runtime.run(session, {"X": np.zeros(shape, np.float32)})


def test_huge_levels_give_infinite_weights() -> None:
    """As they do in the body; nothing is split."""
    case = unified_case((8, 4, 3, 3), (1, 4, 8, 8), zero=0, free=0, pads=[1, 1, 1, 1])
    model = with_attribute(stripped(unified_model(case)), "levels", [3e38, 0.0])
    session = runtime.session(model.SerializeToString(), threads=1)
    assert not np.isfinite(runtime.run(session, {"X": np.ones_like(case.conv.x)})[0]).any()
