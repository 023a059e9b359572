"""The bitmap format: decode(encode(W)) == W, in NumPy and in ONNX Runtime, frozen bytes, and what is refused."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import helper, numpy_helper

from onnxcomp.formats import bitmap, sparse_weight
from onnxcomp.formats.functions import DOMAIN

weights = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=9),
    elements=st.one_of(st.just(np.float32(0)), st.floats(width=32)),
)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal values; NaN equals NaN, and zeros of either sign are one."""
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)


@given(weights)
def test_numpy_decodes_what_was_encoded(weight: np.ndarray) -> None:
    encoded = bitmap.encode(weight)
    assert same(bitmap.decode(encoded, weight.shape), weight)
    assert encoded.mask.size == (weight.size + 7) // 8


@settings(max_examples=30)
@given(weights.filter(lambda w: w.size > 0))
def test_onnxruntime_decodes_what_was_encoded(weight: np.ndarray) -> None:
    encoded = bitmap.encode(weight)
    node = helper.make_node(
        sparse_weight.OP, ["mask", "values"], ["W"], domain=DOMAIN, weight_shape=list(weight.shape), to=1
    )
    graph = helper.make_graph(
        [node],
        "decode",
        [],
        [helper.make_tensor_value_info("W", 1, weight.shape)],
        [numpy_helper.from_array(encoded.mask, "mask"), numpy_helper.from_array(encoded.values, "values")],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=[sparse_weight.function(13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    (decoded,) = ort.InferenceSession(model.SerializeToString(), options).run(None, {})
    assert same(decoded, weight)


def test_the_bytes_of_version_1_are_frozen() -> None:
    encoded = bitmap.encode(np.array([0, 2, 0, 0, 0, 0, 0, 0, -1.5], np.float32))
    assert encoded.mask.tobytes() == bytes.fromhex("0201")
    assert (encoded.values.dtype, encoded.values.tobytes()) == (np.float16, bytes.fromhex("004000be"))
    wide = bitmap.encode(np.array([0.1, -0.0], np.float32))
    assert wide.mask.tobytes() == b"\x01"
    assert (wide.values.dtype, wide.values.tobytes()) == (np.float32, bytes.fromhex("cdcccc3d"))


@pytest.mark.parametrize(
    ("mask", "values", "message"),
    [
        ([1, 0], [1.0], "2 bytes"),
        ([0b10000001], [1.0, 2.0], "past its last element"),
        ([0b11], [1.0], "2 values, 1 are stored"),
    ],
)
def test_disagreeing_parts_are_refused(mask: list[int], values: list[float], message: str) -> None:
    stored = bitmap.Bitmap(np.array(mask, np.uint8), np.array(values, np.float32))
    with pytest.raises(ValueError, match=message):
        bitmap.decode(stored, (7,))


def test_half_precision_is_used_only_where_nothing_is_lost() -> None:
    assert bitmap.encode(np.array([1.0, 65504.0], np.float32)).values.dtype == np.float16
    assert bitmap.encode(np.array([1.0, 65520.0], np.float32)).values.dtype == np.float32
    assert bitmap.encode(np.array([1e-9], np.float32)).values.dtype == np.float32
