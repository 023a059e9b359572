"""The unified format: decode(encode(W)) == W, in NumPy and in ONNX Runtime, frozen bytes, its size, what is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import helper, numpy_helper

from onnxcomp.formats import digits, unified
from onnxcomp.formats.find_unified import BLOCKS, find
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.formats.unified import Unified
from onnxcomp.formats.unified_body import ATTRIBUTES, INPUTS, decode_nodes
from onnxcomp.formats.unified_conv import weight_attributes
from tests.runtime.unified_models import random_weight

LEVELS = ((1.0,), (1.0, 0.0), (1.0, 0.5, 0.0), (1.0, 0.75, 0.5, 0.25))


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """The same float32 numbers, zeros of either sign being one and every NaN another."""
    return a.shape == b.shape and a.dtype == b.dtype == np.float32 and np.array_equal(a, b, equal_nan=True)


def decoded_by_onnxruntime(stored: Unified, shape: tuple[int, ...]) -> np.ndarray:
    """What a model of the body alone gives."""
    attributes, opsets = weight_attributes(stored, shape), [helper.make_opsetid("", 13)]
    body = helper.make_function(DOMAIN, "Decode", list(INPUTS), ["W"], decode_nodes("W"), opsets, list(ATTRIBUTES))
    node = helper.make_node("Decode", list(INPUTS), ["W"], domain=DOMAIN, **attributes)
    arrays = [numpy_helper.from_array(getattr(stored, name), name) for name in INPUTS]
    graph = helper.make_graph([node], "decode", [], [helper.make_tensor_value_info("W", 1, shape)], arrays)
    opsets.append(helper.make_opsetid(DOMAIN, 1))
    model = helper.make_model(graph, opset_imports=opsets, functions=[body], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options)
    weight: np.ndarray = session.run(None, {})[0]
    return weight


@st.composite
def weights(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, int], tuple[float, ...]]:
    """A weight of zero, unified and free blocks, with the block's size and the levels; any floats in free blocks."""
    block, levels = draw(st.sampled_from(BLOCKS)), draw(st.sampled_from(LEVELS))
    rows, columns, *taps = draw(hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=4))
    shape = (rows * block[0], columns * block[1], *taps)
    weight = random_weight(shape, block, levels, zero=0.3, free=0.2, seed=draw(st.integers(0, 99)))
    if draw(st.booleans()):
        weight.flat[draw(st.integers(0, weight.size - 1))] = draw(st.floats(width=32))
    return weight, block, levels


@given(weights())
def test_numpy_decodes_what_was_encoded(case: tuple[np.ndarray, tuple[int, int], tuple[float, ...]]) -> None:
    weight, block, levels = case
    assert same_bits(unified.decode(unified.encode(weight, block, levels), weight.shape), weight)


@settings(max_examples=30, deadline=None)
@given(weights())
def test_onnxruntime_decodes_what_was_encoded(case: tuple[np.ndarray, tuple[int, int], tuple[float, ...]]) -> None:
    weight, block, levels = case
    assert same_bits(decoded_by_onnxruntime(unified.encode(weight, block, levels), weight.shape), weight)


@given(st.integers(2, digits.MOST), st.lists(st.integers(0, 99), max_size=50))
def test_digits_of_any_base_come_back(base: int, numbers: list[int]) -> None:
    given_digits = np.array(numbers, np.int64) % base
    packed = digits.pack(given_digits, base)
    assert packed.shape == (-(-len(numbers) // 16), digits.bytes_of_group(base))
    assert np.array_equal(digits.unpack(packed, len(numbers), base), given_digits)


def test_the_bytes_of_version_1_are_frozen() -> None:
    weight = np.zeros((4, 12), np.float32)
    weight[:, :4] = 0.5
    weight[0, 0] = weight[3, 3] = -0.5
    weight[1, 8] = 3
    stored = unified.encode(weight, (4, 4))
    assert stored.kinds.tobytes() == bytes.fromhex("21")  # unified, zero, free
    assert (stored.scales.dtype, stored.scales.tobytes()) == (np.float16, bytes.fromhex("0038"))
    assert stored.digits.tobytes() == bytes.fromhex("0180")
    assert (stored.values.dtype, stored.values.size, stored.values[4]) == (np.float16, 16, 3)


def test_the_bytes_of_three_levels_are_frozen() -> None:
    weight = np.array([[0.1, -0.1, 0.05, -0.05, 0, 0.1, 0.1, 0]], np.float32)
    stored = unified.encode(weight, (1, 8), (1.0, 0.5, 0.0))
    assert stored.kinds.size == 0
    assert (stored.scales.dtype, stored.scales.tobytes()) == (np.float32, bytes.fromhex("cdcccc3d"))
    assert stored.digits.tobytes() == sum(d * 5**i for i, d in enumerate([0, 1, 2, 3, 4, 0, 0, 4])).to_bytes(
        5, "little"
    )
    assert weight_attributes(stored, weight.shape) == {
        "weight_shape": [1, 8],
        "block": [1, 8],
        "levels": [1, -1, 0.5, -0.5, 0],
        "to": 1,
    }


@pytest.mark.parametrize(("levels", "share"), [((1.0,), 1 / 16), ((1.0, 0.5, 0.0), 7 / 64)])
def test_size_of_4x4_blocks(levels: tuple[float, ...], share: float) -> None:
    weight = random_weight((64, 64, 3, 3), (4, 4), levels)
    assert unified.encode(weight, (4, 4), levels).size_bytes == share * weight.nbytes


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("levels", [(1.0,), (1.0, 0.0), (1.0, 0.5, 0.0)])
def test_blocks_are_found(block: tuple[int, int], levels: tuple[float, ...]) -> None:
    weight = random_weight((32, 16, 3, 3), block, levels, zero=0.2)
    found = find(weight)
    assert found is not None
    assert (found.block, found.levels) == (block, levels)


def test_nothing_is_found_in_a_dense_weight() -> None:
    assert find(np.random.default_rng(0).standard_normal((16, 16, 3, 3), np.float32)) is None
    assert find(np.full((3, 5), 2, np.float32)) is None  # no block divides it


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((), "must fall from 1"),
        ((0.5,), "must fall from 1"),
        ((1.0, 1.0), "must fall from 1"),
        ((1.0, -0.5), "not be negative"),
        ((1.0, float("nan")), "must fall from 1"),
        ((1.0, 0.1), "exactly"),
        ((1.0, 0.75, 0.5, 0.25, 0.125), "10 levels"),
    ],
)
def test_levels_are_refused(levels: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unified.encode(np.ones((4, 4), np.float32), (4, 4), levels)


def test_blocks_must_divide_the_weight() -> None:
    with pytest.raises(ValueError, match=r"blocks of 4x4 do not divide a weight of shape \(4, 3, 3, 3\)"):
        unified.encode(np.ones((4, 3, 3, 3), np.float32), (4, 4))


STORED = Unified(
    (4, 4), (1.0, 0.0), np.array([0x21], np.uint8), np.ones(1, np.float16), np.zeros((1, 4), np.uint8), np.ones(16)
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kinds": np.array([0x21, 0], np.uint8)}, "2 bytes, 3 blocks need 1"),
        ({"kinds": np.array([0x61], np.uint8)}, "past its last block"),
        ({"kinds": np.array([0x31], np.uint8)}, "kind 3"),
        ({"kinds": np.array([0x11], np.uint8)}, "2 unified blocks, 1 scales"),
        ({"kinds": np.zeros(0, np.uint8)}, "3 unified blocks, 1 scales"),
        ({"scales": np.array([np.inf], np.float32)}, "positive and finite"),
        ({"scales": np.array([-1], np.float32)}, "positive and finite"),
        ({"digits": np.zeros((1, 2), np.uint8)}, "shape"),
        ({"digits": np.full((1, 4), 255, np.uint8)}, "more than 16 digits of base 3"),
        ({"values": np.ones(15)}, "1 free blocks of 16, 15 values"),
    ],
)
def test_disagreeing_parts_are_refused(change: dict[str, Any], message: str) -> None:
    assert unified.decode(STORED, (4, 12)).sum() == 32
    with pytest.raises(ValueError, match=message):
        unified.decode(replace(STORED, **change), (4, 12))


def test_digits_past_the_last_are_zero() -> None:
    with pytest.raises(ValueError, match="past the last"):
        digits.unpack(np.array([[16, 0]], np.uint8), 4, 2)
