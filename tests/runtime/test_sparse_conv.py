"""SparseConv's kernel, through ONNX Runtime, against ONNX Runtime's own dense Conv."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxcomp.formats import sparse_conv
from onnxcomp.runtime import session as runtime
from tests.runtime.sparse_models import (
    EPSILON,
    Case,
    dense_output,
    random_case,
    run,
    sparse_model,
    structured_case,
    tolerance,
)

CASES: dict[str, Case] = {
    "3x3": random_case((8, 6, 3, 3), (1, 6, 14, 14), pads=[1, 1, 1, 1]),
    "no attributes": random_case((8, 6, 3, 3), (1, 6, 9, 9)),
    "stride 2, asymmetric pads": random_case((8, 6, 3, 3), (2, 6, 13, 17), pads=[0, 1, 1, 2], strides=[2, 2]),
    "different strides": random_case((5, 4, 3, 5), (1, 4, 31, 20), strides=[3, 1], pads=[1, 2, 1, 2]),
    "dilations": random_case((5, 4, 3, 3), (1, 4, 31, 20), dilations=[2, 4], pads=[2, 4, 2, 4]),
    "groups": random_case((12, 3, 5, 5), (1, 12, 27, 27), group=4, pads=[2, 2, 2, 2]),
    "depthwise": random_case((10, 1, 3, 3), (1, 10, 19, 19), group=10, pads=[1, 1, 1, 1], density=0.8),
    "SAME_UPPER": random_case((5, 4, 4, 4), (1, 4, 15, 16), auto_pad="SAME_UPPER", strides=[2, 3]),
    "SAME_LOWER": random_case((5, 4, 4, 4), (1, 4, 15, 16), auto_pad="SAME_LOWER", strides=[2, 3]),
    "SAME_UPPER, cropped": random_case((5, 4, 1, 1), (1, 4, 15, 16), auto_pad="SAME_UPPER", strides=[4, 5]),
    "SAME_LOWER, cropped": random_case((5, 4, 1, 1), (1, 4, 15, 16), auto_pad="SAME_LOWER", strides=[4, 5]),
    "VALID": random_case((5, 4, 4, 4), (1, 4, 15, 16), auto_pad="VALID", kernel_shape=[4, 4]),
    "1x1": random_case((32, 48, 1, 1), (1, 48, 14, 14)),
    "1x1, aligned": random_case((32, 300, 1, 1), (1, 300, 28, 28), density=0.1),
    "1x1, stride 2": random_case((32, 48, 1, 1), (1, 48, 15, 15), strides=[2, 2]),
    "1x1, one pixel": random_case((7, 48, 1, 1), (3, 48, 1, 1)),
    "1-D": random_case((8, 16, 3), (2, 16, 101), pads=[1, 1]),
    "1-D, long and strided": random_case((4, 1, 400), (1, 1, 3000), strides=[160], density=0.5),
    "several blocks of channels": random_case((40, 130, 3, 3), (1, 130, 28, 28), pads=[1, 1, 1, 1], density=0.1),
    "all zeros": random_case((8, 6, 3, 3), (1, 6, 14, 14), pads=[1, 1, 1, 1], density=0),
    "no zeros": random_case((8, 6, 3, 3), (1, 6, 14, 14), pads=[1, 1, 1, 1], density=1),
}


def assert_close(got: np.ndarray, expected: np.ndarray, allowed: np.ndarray | float) -> None:
    assert got.shape == expected.shape
    excess = np.abs(got - expected) - allowed
    assert excess.size == 0 or excess.max() <= 0, f"off by {np.abs(got - expected).max()}"


@pytest.mark.parametrize("name", CASES)
def test_equals_dense(name: str) -> None:
    case = CASES[name]
    assert_close(run(sparse_model(case), case.feed), dense_output(case), tolerance(case))


def test_empty_output_channels_are_the_bias() -> None:
    case = CASES["3x3"]
    case.weight[3] = 0
    y = run(sparse_model(case), case.feed)
    assert np.array_equal(y[:, 3], np.full_like(y[:, 3], case.bias[3]))


@pytest.mark.parametrize("op", sparse_conv.EPILOGUES)
def test_every_form_equals_its_body(op: str) -> None:
    structure = "16x1" if op.startswith("Block") else "2:16"
    case = structured_case(structure, (16, 20, 3, 3), (2, 20, 11, 9), pads=[1, 1, 1, 1])
    check_form(case, sparse_conv.EPILOGUES[op])


@pytest.mark.parametrize("activation", sparse_conv.ACTIVATIONS)
@pytest.mark.parametrize("residual", [False, True])
def test_every_epilogue_equals_its_body(activation: str, residual: bool) -> None:
    case = random_case((9, 20, 3, 3), (2, 20, 11, 9), pads=[1, 1, 1, 1])
    check_form(case, sparse_conv.Epilogue(residual, activation))


def check_form(case: Case, epilogue: sparse_conv.Epilogue) -> None:
    """The kernel and the function body agree on `case` with `epilogue`, a 3x3 convolution padded by 1."""
    case.epilogue = epilogue
    if epilogue.residual:
        case.z = np.random.default_rng(1).standard_normal(dense_output(case).shape).astype(np.float32)
    case.attributes |= {
        name: {"clip_min": -0.5, "clip_max": 6.0, "alpha": 0.1}[name]
        for name in sparse_conv.ACTIVATIONS[case.epilogue.activation]
    }
    model = sparse_model(case)
    # The activations' slopes are at most 1.1; ONNX Runtime's Sigmoid itself is good to about 1e-6.
    conv_only = Case(case.weight, case.x, case.bias, attributes={"pads": [1, 1, 1, 1]})
    allowed = 1.1 * tolerance(conv_only) + 1e-6
    if case.z is not None:
        allowed += 2 * EPSILON * np.abs(case.z)
    assert_close(run(model, case.feed), run(model, case.feed, library=False), allowed)


def test_pixelwise_form_with_residual_and_activation() -> None:
    case = random_case((20, 30, 1, 1), (2, 30, 7, 7))
    case.epilogue = sparse_conv.EPILOGUES["SparseConvAddRelu"]
    case.z = np.random.default_rng(1).standard_normal((2, 20, 7, 7)).astype(np.float32)
    model = sparse_model(case)
    assert_close(run(model, case.feed), run(model, case.feed, library=False), 1e-4)


def test_float16_values_are_decoded() -> None:
    case = CASES["3x3"]
    case.weight = case.weight.astype(np.float16).astype(np.float32)
    model = sparse_model(case)
    assert model.graph.initializer[1].data_type == 10
    assert_close(run(model, case.feed), dense_output(case), tolerance(case))


def test_empty_batch() -> None:
    case = random_case((8, 6, 3, 3), (0, 6, 14, 14), pads=[1, 1, 1, 1])
    case.x_shape = ["N", 6, 14, 14]
    assert run(sparse_model(case), case.feed).shape == (0, 8, 14, 14)


def test_sizes_may_change_between_runs() -> None:
    case = random_case((8, 20, 3, 3), (1, 20, 14, 14), pads=[1, 1, 1, 1], strides=[2, 1])
    case.x_shape = ["N", 20, "H", "W"]
    session = runtime.session(sparse_model(case).SerializeToString(), threads=1)
    rng = np.random.default_rng(3)
    for n, height, width in [(1, 14, 14), (3, 14, 14), (1, 1, 1), (2, 57, 33), (1, 14, 14)]:
        case.x = rng.standard_normal((n, 20, height, width)).astype(np.float32)
        assert_close(runtime.run(session, case.feed)[0], dense_output(case), tolerance(case))


def test_concurrent_runs_of_one_session() -> None:
    case = random_case((40, 130, 3, 3), (1, 130, 28, 28), pads=[1, 1, 1, 1], density=0.1)
    case.x_shape = [1, 130, "H", "W"]
    session = runtime.session(sparse_model(case).SerializeToString(), threads=2)
    feeds = [{"X": np.ascontiguousarray(case.x[:, :, : 28 - i, :])} for i in range(4)] * 4
    expected = [runtime.run(session, feed)[0] for feed in feeds]
    with ThreadPoolExecutor(4) as pool:
        for got, alone in zip(pool.map(lambda feed: runtime.run(session, feed)[0], feeds), expected, strict=True):
            assert np.array_equal(got, alone)


def test_nan_reaches_every_output_whose_weight_sees_it() -> None:
    case = random_case((3, 2, 1, 1), (1, 2, 4, 4), density=1)
    case.epilogue = sparse_conv.EPILOGUES["SparseConvClip"]
    case.attributes = {"clip_min": -1.0, "clip_max": 1.0}
    case.x[0, 1, 2, 3] = np.nan
    y = run(sparse_model(case), case.feed)
    assert np.isnan(y[0, :, 2, 3]).all()
    assert np.isnan(y).sum() == 3


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any convolution that ONNX Runtime's Conv runs, small enough to be quick."""
    rank = draw(st.sampled_from([1, 2]))
    group = draw(st.sampled_from([1, 1, 2, 3]))

    def each(low: int, high: int) -> list[int]:
        return [draw(st.integers(low, high)) for _ in range(rank)]

    kernel, strides, dilations = each(1, 5), each(1, 4), each(1, 3)
    before, after = each(0, 4), each(0, 4)
    attributes: dict[str, Any] = {"group": group, "strides": strides}
    auto_pad = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if auto_pad.startswith("SAME"):
        dilations = [1] * rank  # dilated, ONNX Runtime refuses them
    if auto_pad == "NOTSET":
        attributes["pads"] = before + after
    else:
        attributes["auto_pad"] = auto_pad
    attributes["dilations"] = dilations
    sizes = [(k - 1) * d + 1 + e for k, d, e in zip(kernel, dilations, each(0, 40), strict=True)]
    weight_shape = (draw(st.integers(1, 12)) * group, draw(st.integers(1, 20)), *kernel)
    return random_case(
        weight_shape,
        (draw(st.integers(1, 3)), weight_shape[1] * group, *sizes),
        density=draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])),
        seed=draw(st.integers(0, 1000)),
        **attributes,
    )


@settings(max_examples=100, deadline=None)
@given(cases())
def test_any_shape_equals_dense(case: Case) -> None:
    assert_close(run(sparse_model(case), case.feed), dense_output(case), tolerance(case))
