"""Structured weights: blocks of output channels and n of 16 input channels, against ONNX Runtime's own dense Conv."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from onnxcomp.errors import ModelError
from onnxcomp.formats import sparse_conv
from onnxcomp.runtime import session as runtime
from tests.runtime.sparse_models import (
    Case,
    dense_output,
    random_case,
    run,
    sparse_model,
    structured_case,
    tolerance,
)

SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((32, 40, 3, 3), (1, 40, 14, 14), {"pads": [1, 1, 1, 1]}),
    "3x3, 2x2 map, batch 3": ((16, 20, 3, 3), (3, 20, 2, 2), {"pads": [1, 1, 1, 1]}),
    "3x3, several blocks of channels": ((16, 300, 3, 3), (1, 300, 28, 28), {"pads": [1, 1, 1, 1]}),
    "stride 2": ((16, 6, 3, 3), (2, 6, 13, 17), {"pads": [0, 1, 1, 2], "strides": [2, 2]}),
    "dilations": ((16, 17, 3, 3), (1, 17, 31, 20), {"dilations": [2, 4], "pads": [2, 4, 2, 4]}),
    "groups": ((48, 8, 5, 5), (1, 24, 27, 27), {"group": 3, "pads": [2, 2, 2, 2]}),
    "SAME_LOWER, cropped": ((16, 4, 1, 1), (1, 4, 15, 16), {"auto_pad": "SAME_LOWER", "strides": [4, 5]}),
    "1x1": ((64, 48, 1, 1), (1, 48, 28, 28), {}),
    "1x1, one pixel": ((16, 48, 1, 1), (3, 48, 1, 1), {}),
    "1-D": ((16, 16, 3), (2, 16, 101), {"pads": [1, 1]}),
}
STRUCTURES = ("4x1", "16x1", "1:16", "2:16", "7:16", "15:16")


def assert_equals_dense(case: Case) -> None:
    got, expected = run(sparse_model(case), case.feed), dense_output(case)
    assert got.shape == expected.shape
    assert (np.abs(got - expected) <= tolerance(case)).all()


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("name", SHAPES)
def test_equals_dense(name: str, structure: str) -> None:
    weight_shape, x_shape, attributes = SHAPES[name]
    assert_equals_dense(structured_case(structure, weight_shape, x_shape, **attributes))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_body_equals_dense(structure: str) -> None:
    case = structured_case(structure, (32, 40, 3, 3), (1, 40, 9, 9), pads=[1, 1, 1, 1])
    got = run(sparse_model(case), case.feed, library=False)
    assert np.array_equal(got, dense_output(case))


@pytest.mark.parametrize("structure", ["4x1", "16x1"])
@pytest.mark.parametrize("density", [0, 1])
def test_no_block_and_every_block(structure: str, density: float) -> None:
    case = structured_case(structure, (16, 5, 3, 3), (1, 5, 8, 8), density=density)
    assert_equals_dense(case)
    body = run(sparse_model(case), case.feed, library=False)
    assert (np.abs(body - dense_output(case)) <= tolerance(case)).all()


@pytest.mark.parametrize("structure", ["4x1", "16x1"])
def test_zeros_inside_blocks_are_kept(structure: str) -> None:
    """A block is stored whole, however few of its values are not zero."""
    case = structured_case(structure, (16, 5, 3, 3), (1, 5, 8, 8))
    case.weight[3:] = 0
    assert_equals_dense(case)


@pytest.mark.parametrize("structure", ["4x1", "16x1"])
def test_float16_values_are_decoded(structure: str) -> None:
    case = structured_case(structure, (16, 5, 3, 3), (1, 5, 8, 8))
    case.weight = case.weight.astype(np.float16).astype(np.float32)
    assert sparse_model(case).graph.initializer[1].data_type == 10
    assert_equals_dense(case)


@pytest.mark.parametrize("structure", ["4x1", "16x1", "2:16"])
def test_sizes_may_change_between_runs(structure: str) -> None:
    case = structured_case(structure, (16, 20, 3, 3), (1, 20, 14, 14), pads=[1, 1, 1, 1], strides=[2, 1])
    case.x_shape = ["N", 20, "H", "W"]
    session = runtime.session(sparse_model(case).SerializeToString(), threads=2)
    rng = np.random.default_rng(3)
    for n, height, width in [(1, 14, 14), (3, 14, 14), (1, 1, 1), (2, 57, 133), (0, 14, 14)]:
        case.x = rng.standard_normal((n, 20, height, width)).astype(np.float32)
        got = runtime.run(session, case.feed)[0]
        assert (np.abs(got - dense_output(case)) <= tolerance(case)).all()


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any convolution in any structure, small enough to be quick."""
    structure = draw(st.sampled_from(STRUCTURES))
    group = draw(st.sampled_from([1, 1, 2]))
    rank = draw(st.sampled_from([1, 2]))
    kernel, strides, dilations = ([draw(st.integers(1, most)) for _ in range(rank)] for most in (4, 3, 3))
    pads = [draw(st.integers(0, 3)) for _ in range(2 * rank)]
    sizes = [(k - 1) * d + 1 + draw(st.integers(0, 30)) for k, d in zip(kernel, dilations, strict=True)]
    height = sparse_conv.BLOCK_HEIGHTS.get(structure, 1)
    outputs = draw(st.integers(1, 3)) * height if height > 1 else draw(st.integers(1, 40))
    channels = draw(st.integers(1, 40))
    return structured_case(
        structure,
        (outputs * group, channels, *kernel),
        (draw(st.integers(1, 2)), channels * group, *sizes),
        density=draw(st.sampled_from([0.1, 0.5, 1.0])),
        seed=draw(st.integers(0, 1000)),
        group=group,
        strides=strides,
        dilations=dilations,
        pads=pads,
    )


@settings(max_examples=100, deadline=None)
@given(cases())
def test_any_shape_equals_dense(case: Case) -> None:
    assert_equals_dense(case)


def assert_refused(case: Case, message: str, **changes: Any) -> None:
    """The model, its attributes (None removes one) or constants changed, is refused with `message`."""
    model = sparse_model(case)
    del model.functions[:]
    for tensor in model.graph.initializer:
        if tensor.name in changes:
            tensor.CopyFrom(numpy_helper.from_array(changes.pop(tensor.name), tensor.name))
    node = model.graph.node[0]
    kept = [attribute for attribute in node.attribute if attribute.name not in changes]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(helper.make_attribute(k, v) for k, v in changes.items() if v is not None)
    with pytest.raises(ModelError) as refusal:
        runtime.session(model.SerializeToString(), threads=1)
    assert message in str(refusal.value)
    assert "node 'the_node'" in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"structure": "unstructured"}, "only '4x1' and '16x1' in blocks"),
        ({"structure": "2:16"}, "only '4x1' and '16x1' in blocks"),
        ({"structure": "4x1"}, "block is 16"),
        ({"structure": None}, "structure is missing"),
        ({"block": None}, "block is missing"),
        ({"block": [16, 1]}, "block is 16x1"),
        ({"block": [0]}, "block is 0"),
        ({"weight_shape": [40, 5, 3, 3], "B": np.zeros(40, np.float32)}, "do not divide the 40 output channels"),
        ({"weight_shape": [32, 4, 3, 3]}, "mask has 12 bytes"),
        ({"group": 4, "weight_shape": [32, 5, 3, 3]}, "do not divide the 8 output channels of a group"),
        ({"values": np.ones(17, np.float32)}, "which blocks of 16 do not divide"),
        ({"values": np.ones(16, np.float32)}, "marks"),
        ({"mask": np.full(12, 255, np.uint8)}, "past"),
    ],
)
def test_blocks_that_disagree_are_refused(changes: dict[str, Any], message: str) -> None:
    # 2 x 5 x 9 blocks: the mask's last byte has six bits to spare.
    assert_refused(structured_case("16x1", (32, 5, 3, 3), (1, 5, 8, 8)), message, **changes)


@pytest.mark.parametrize("structure", ["0:16", "16:16", "17:16", "02:16", "2:8", "2:16 ", "4x1", "n:16"])
def test_unknown_structure_is_refused(structure: str) -> None:
    assert_refused(random_case((16, 5, 3, 3), (1, 5, 8, 8)), f"'{structure}'", structure=structure)


def test_more_than_n_of_a_window_is_refused() -> None:
    case = structured_case("3:16", (8, 40, 1, 1), (1, 40, 8, 8))
    assert_refused(case, "a window of 16 input channels holds 3 values", structure="2:16")
