"""SparseGemm and SparseMatMul nodes that are wrong are refused with a message, and never read past an end."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto

from onnxcomp.errors import ModelError
from onnxcomp.runtime import session as runtime
from tests.runtime.gemm_models import gemm_model, random_case
from tests.runtime.hostile import Change, assert_refused, flip, stripped, with_attribute, with_input, with_tensor


def small(op: str = "SparseGemm", **attributes: Any) -> ModelProto:
    """A layer of 5 x 54 = 270 weights, without its function body: what is refused, is refused by the kernel."""
    case = random_case(5, (3, 54), op=op)
    case.attributes = attributes
    return stripped(gemm_model(case))


REFUSED_ATTRIBUTES = [
    ("weight_shape", None, "weight_shape is missing"),
    ("weight_shape", [270], "1 dimensions"),
    ("weight_shape", [5, 6, 9], "3 dimensions"),
    ("weight_shape", [0, 54], "below 1"),
    ("weight_shape", [-5, -54], "below 1"),
    ("weight_shape", [2**31, 2], "more than 2147483648 elements"),
    ("weight_shape", [2**62, 4], "more than 2147483648 elements"),
    ("weight_shape", [5, 55], "mask has 34 bytes, a weight of 275 elements needs 35"),
    ("weight_shape", 3, "weight_shape must be a list of integers"),
    ("structure", None, "structure is missing"),
    ("structure", "16x1", "'16x1'"),
    ("structure", 1, "structure must be a string"),
    ("to", None, "to is missing"),
    ("to", 10, "float32"),
    ("to", "1", "to must be an integer"),
]

REFUSED_TENSORS: list[tuple[str, Change, str]] = [
    ("mask", lambda mask: mask[:-1], "mask has 33 bytes"),
    ("mask", lambda mask: mask[:0], "mask has 0 bytes"),
    ("mask", lambda mask: mask[None], "rank 1"),
    ("mask", flip(33, 7), "past the weight's last element"),
    ("mask", flip(0, 0), "marks"),
    ("values", lambda values: values[:-1], "marks"),
    ("values", lambda values: np.append(values, values[:1]), "marks"),
    ("values", lambda values: values[:, None], "rank 1"),
    ("values", lambda values: values.astype(np.float64), "float32 or float16"),
    ("B", lambda bias: bias[:-1], "B has shape 4"),
    ("B", lambda bias: bias[:, None], "B has shape 5x1"),
]


@pytest.mark.parametrize(("name", "value", "message"), REFUSED_ATTRIBUTES)
def test_attribute_is_refused(name: str, value: Any, message: str) -> None:
    assert_refused(with_attribute(small(), name, value), message)


@pytest.mark.parametrize(("name", "change", "message"), REFUSED_TENSORS)
def test_constant_is_refused(name: str, change: Change, message: str) -> None:
    assert_refused(with_tensor(small(), name, change), message)


@pytest.mark.parametrize(
    ("op", "attributes", "message"),
    [
        ("SparseGemmClip", {"clip_min": 0.0}, "clip_max is missing"),
        ("SparseMatMulClip", {"clip_min": float("nan"), "clip_max": 1.0}, "clip_min is not a number"),
        ("SparseGemmLeakyRelu", {"alpha": float("inf")}, "alpha is infinite"),
    ],
)
def test_activation_attribute_is_refused(op: str, attributes: dict[str, Any], message: str) -> None:
    assert_refused(small(op, **attributes), message)


def test_a_mask_that_is_no_constant_is_refused() -> None:
    assert_refused(with_input(small(), "mask", TensorProto.UINT8, ["n"]), "mask must be a constant")


@pytest.mark.parametrize(
    ("op", "shape", "message"),
    [
        ("SparseGemm", (54,), "a rank of 2"),
        ("SparseGemm", (1, 1, 54), "a rank of 2"),
        ("SparseGemm", (1, 53), "the weight needs 54 columns"),
        ("SparseGemm", (0, 55), "the weight needs 54 columns"),
        ("SparseMatMul", (), "a rank of 1 or more"),
        ("SparseMatMul", (2, 54, 1), "the weight needs 54 columns"),
    ],
)
def test_input_is_refused(op: str, shape: tuple[int, ...], message: str) -> None:
    model = small(op)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    session = runtime.session(model.SerializeToString(), threads=1)
    with pytest.raises(ModelError, match=message):
        runtime.run(session, {"X": np.zeros(shape, np.float32)})


@pytest.mark.parametrize("rows", [2**62, 2**40])
def test_rows_that_the_model_only_claims_are_harmless(rows: int) -> None:
    case = random_case(5, (3, 54), op="SparseMatMul")
    case.x_shape = [rows, rows, 54]
    assert runtime.session(gemm_model(case).SerializeToString(), threads=1).get_outputs()[0].name == "Y"


@pytest.mark.parametrize(
    ("op", "x_shape", "y_shape"),
    [
        ("SparseGemm", ["N", 54], ["N", 5]),
        ("SparseGemm", [7, 54], [7, 5]),
        ("SparseMatMul", ["N", 3, "T", 54], ["N", 3, "T", 5]),
        ("SparseMatMul", [54], [5]),
    ],
)
def test_output_shape_is_inferred(op: str, x_shape: list[Any], y_shape: list[Any]) -> None:
    case = random_case(5, (3, 54), op=op)
    case.x_shape = x_shape
    model = stripped(gemm_model(case))  # the body would tell the runtime as well
    assert runtime.session(model.SerializeToString(), threads=1).get_outputs()[0].shape == y_shape
