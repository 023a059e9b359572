"""The block bitmap: decode(encode(W)) == W, in NumPy and in ONNX Runtime, frozen bytes, and what is refused."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import helper, numpy_helper

from onnxcomp.formats import bitmap, block_bitmap, sparse_conv
from onnxcomp.formats.functions import DOMAIN, DOMAIN_VERSION, MIN_IR, MIN_OPSET
from tests.runtime.sparse_models import run, sparse_model, structured_case

HEIGHTS = st.sampled_from([1, 2, 4, 16])


@st.composite
def weights(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """A weight, and a height that divides its output channels."""
    height = draw(HEIGHTS)
    rows, *columns = draw(hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=4))
    elements = st.one_of(st.just(np.float32(0)), st.floats(width=32))
    return draw(hnp.arrays(np.float32, (rows * height, *columns), elements=elements)), height


@given(weights())
def test_numpy_decodes_what_was_encoded(given_weight: tuple[np.ndarray, int]) -> None:
    weight, height = given_weight
    stored = block_bitmap.encode(weight, height)
    decoded = block_bitmap.decode(stored, weight.shape, height)
    assert decoded.dtype == weight.dtype
    assert np.array_equal(decoded, weight, equal_nan=True)
    assert stored.mask.size == (weight.size // height + 7) // 8


def test_the_bytes_of_version_1_are_frozen() -> None:
    weight = np.zeros((8, 3, 1, 2), np.float32)
    weight[0:4, 0, 0, 1] = [1, -2, 0, 0.5]  # block 1: zeros inside it are stored
    weight[7, 2, 0, 0] = 0.1  # block 6 + 4
    stored = block_bitmap.encode(weight, 4)
    assert stored.mask.tobytes() == bytes.fromhex("0204")
    assert stored.values.dtype == np.float32
    assert stored.values.tolist() == [1, -2, 0, 0.5, 0, 0, 0, np.float32(0.1)]
    weight[7, 2, 0, 0] = -0.0
    halves = block_bitmap.encode(weight, 4)
    assert halves.mask.tobytes() == bytes.fromhex("0200")
    assert halves.values.dtype == np.float16
    assert halves.values.tobytes() == bytes.fromhex("003c00c000000038")


@pytest.mark.parametrize(
    ("mask", "values", "message"),
    [
        ([1, 0], 4, "2 bytes"),
        ([0b01000001], 4, "past its last block"),
        ([0b11], 4, "2 blocks of 4, 4 values"),
        ([0b1], 5, "1 blocks of 4, 5 values"),
    ],
)
def test_disagreeing_parts_are_refused(mask: list[int], values: int, message: str) -> None:
    stored = bitmap.Bitmap(np.array(mask, np.uint8), np.ones(values, np.float32))
    with pytest.raises(ValueError, match=message):
        block_bitmap.decode(stored, (8, 3), 4)


def test_blocks_must_divide_the_output_channels() -> None:
    with pytest.raises(ValueError, match="blocks of 4 do not divide 6"):
        block_bitmap.encode(np.ones((6, 2), np.float32), 4)


@pytest.mark.parametrize("structure", ["4x1", "16x1", "2:16"])
def test_a_model_passes_the_checker(structure: str) -> None:
    case = structured_case(structure, (16, 20, 3, 3), (1, 20, 8, 8))
    case.y_shape = [1, 16, 6, 6]
    model = sparse_model(case)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.node[0].op_type == ("BlockSparseConv" if structure.endswith("x1") else "SparseConv")


def test_structures_stand_side_by_side_in_one_model() -> None:
    """Every operator has one function body, whatever the structures of its nodes; with the library and without."""
    plain, shape = sparse_conv.Epilogue(), (16, 16, 1, 1)
    x = expected = np.ones((1, 16, 4, 4), np.float32)
    nodes, tensors = [], [numpy_helper.from_array(np.zeros(16, np.float32), "B")]
    for i, structure in enumerate(("4x1", "16x1", "3:16", "unstructured")):
        weight = structured_case("5:16" if structure == "unstructured" else structure, shape, x.shape, seed=i).weight
        stored = sparse_conv.encode(weight, structure)
        tensors += [numpy_helper.from_array(stored.mask, f"m{i}"), numpy_helper.from_array(stored.values, f"v{i}")]
        nodes.append(sparse_conv.node(plain, [f"x{i}", f"m{i}", f"v{i}", "B"], f"x{i + 1}", shape, structure=structure))
        expected = np.einsum("oc,nchw->nohw", weight[:, :, 0, 0], expected)
    ends = [helper.make_tensor_value_info(name, 1, x.shape) for name in ("x0", "x4")]
    model = helper.make_model(
        helper.make_graph(nodes, "several", ends[:1], ends[1:], tensors),
        opset_imports=[helper.make_opsetid("", MIN_OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)],
        functions=[sparse_conv.function(plain, MIN_OPSET, structure) for structure in ("unstructured", "16x1")],
        ir_version=MIN_IR,
    )
    onnx.checker.check_model(model, full_check=True)
    for library in (True, False):
        assert np.allclose(run(model, {"x0": x}, library), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("structure", "message"),
    [("2:16", "holds 3 values, 2:16 allows 2"), ("8x1", "no structure '8x1'"), ("16:16", "no structure '16:16'")],
)
def test_a_weight_of_another_structure_is_refused(structure: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sparse_conv.encode(np.ones((16, 3, 1, 1), np.float32), structure)
