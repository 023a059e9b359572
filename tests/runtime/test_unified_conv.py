"""UnifiedConv in ONNX Runtime: equal to a dense Conv with the decoded weight, and to its own function body."""

from typing import Any

import numpy as np
import pytest

from onnxcomp.formats import unified, unified_conv
from onnxcomp.formats.activation import ACTIVATIONS
from onnxcomp.formats.find_unified import BLOCKS
from onnxcomp.runtime import session as runtime
from tests.runtime.hostile import stripped
from tests.runtime.sparse_models import EPSILON, dense_output, run
from tests.runtime.unified_models import UnifiedCase, unified_case, unified_model, unified_tolerance

PADDED = {"pads": [1, 1, 1, 1]}
CASES: dict[str, UnifiedCase] = {
    "3x3": unified_case((16, 8, 3, 3), (1, 8, 14, 14), **PADDED),
    "all unified": unified_case((16, 8, 3, 3), (1, 8, 14, 14), zero=0, free=0, **PADDED),
    "all zero": unified_case((16, 8, 3, 3), (1, 8, 14, 14), zero=1, free=0, **PADDED),
    "all free": unified_case((16, 8, 3, 3), (1, 8, 14, 14), zero=0, free=1, **PADDED),
    "stride 2, asymmetric pads": unified_case((8, 8, 3, 3), (2, 8, 13, 17), pads=[0, 1, 1, 2], strides=[2, 2]),
    "dilations": unified_case((8, 4, 3, 3), (1, 4, 31, 20), dilations=[2, 4], pads=[2, 4, 2, 4]),
    "groups": unified_case((16, 4, 5, 5), (1, 16, 27, 27), group=4, pads=[2, 2, 2, 2]),
    "blocks across groups": unified_case((12, 8, 3, 3), (1, 32, 9, 9), (6, 4), group=4),
    "channels that are no multiple of four": unified_case((8, 6, 3, 3), (1, 6, 9, 9), (4, 3), **PADDED),
    "SAME_LOWER": unified_case((8, 4, 4, 4), (1, 4, 15, 16), auto_pad="SAME_LOWER", strides=[2, 3]),
    "1-D": unified_case((8, 16, 3), (2, 16, 101), pads=[1, 1]),
    "1x1": unified_case((32, 64, 1, 1), (2, 64, 14, 14)),
    "1x1, stride 2": unified_case((32, 64, 1, 1), (1, 64, 13, 15), strides=[2, 2]),
    "several blocks of channels": unified_case((40, 300, 3, 3), (1, 300, 28, 28), zero=0.8, **PADDED),
}


def assert_close(got: np.ndarray, expected: np.ndarray, allowed: np.ndarray | float) -> None:
    assert got.shape == expected.shape
    assert np.all(np.abs(got - expected) <= allowed), f"off by {np.abs(got - expected).max()}"


@pytest.mark.parametrize("name", CASES)
def test_equals_dense(name: str) -> None:
    case = CASES[name]
    got = run(stripped(unified_model(case)), case.conv.feed)
    assert_close(got, dense_output(case.conv), unified_tolerance(case))


@pytest.mark.parametrize("levels", [(1.0,), (1.0, 0.0), (1.0, 0.5, 0.0), (1.0, 0.75, 0.5, 0.25)])
@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_and_levels(block: tuple[int, int], levels: tuple[float, ...]) -> None:
    case = unified_case((16, 8, 3, 3), (1, 8, 9, 9), block, levels, **PADDED)
    got = run(stripped(unified_model(case)), case.conv.feed)
    assert_close(got, dense_output(case.conv), unified_tolerance(case))


@pytest.mark.parametrize("op", unified_conv.EPILOGUES)
def test_every_form_equals_its_body(op: str) -> None:
    case = unified_case((16, 20, 3, 3), (2, 20, 11, 9), **PADDED)
    allowed = 1.1 * unified_tolerance(case) + 1e-6  # the activations' slopes; ONNX Runtime's own Sigmoid
    case.conv.epilogue = unified_conv.EPILOGUES[op]
    if case.conv.epilogue.residual:
        case.conv.z = np.random.default_rng(1).standard_normal(allowed.shape).astype(np.float32)
        allowed += 2 * EPSILON * np.abs(case.conv.z)
    options: dict[str, Any] = {"clip_min": -0.5, "clip_max": 6.0, "alpha": 0.1}
    case.conv.attributes |= {name: options[name] for name in ACTIVATIONS[case.conv.epilogue.activation]}
    model = unified_model(case)
    with_body_only = run(model, case.conv.feed, library=False)
    assert_close(run(stripped(model), case.conv.feed), with_body_only, allowed)


def test_scales_and_free_blocks_of_float32() -> None:
    case = unified_case((16, 8, 3, 3), (1, 8, 14, 14), **PADDED)
    case.conv.weight *= np.float32(1.1)
    case.stored = unified.encode(case.conv.weight, (4, 4))
    assert case.stored.scales.dtype == case.stored.values.dtype == np.float32
    got = run(stripped(unified_model(case)), case.conv.feed)
    assert_close(got, dense_output(case.conv), unified_tolerance(case))


def test_free_blocks_of_float16() -> None:
    case = unified_case((16, 8, 3, 3), (1, 8, 14, 14), free=0.5, **PADDED)
    case.conv.weight = case.conv.weight.astype(np.float16).astype(np.float32)
    case.stored = unified.encode(case.conv.weight, (4, 4))
    assert case.stored.values.dtype == np.float16 and case.stored.values.size > 0
    got = run(stripped(unified_model(case)), case.conv.feed)
    assert_close(got, dense_output(case.conv), unified_tolerance(case))


def test_an_empty_batch() -> None:
    case = unified_case((8, 8, 3, 3), (0, 8, 14, 14), **PADDED)
    case.conv.x_shape = ["N", 8, 14, 14]
    assert run(stripped(unified_model(case)), case.conv.feed).shape == (0, 8, 14, 14)


def test_sizes_may_change_between_runs() -> None:
    case = unified_case((8, 20, 3, 3), (1, 20, 14, 14), zero=0, **PADDED)
    case.conv.x_shape = ["N", 20, "H", "W"]
    session = runtime.session(stripped(unified_model(case)).SerializeToString(), threads=1)
    rng = np.random.default_rng(3)
    for n, height, width in [(1, 14, 14), (3, 14, 14), (1, 1, 1), (2, 57, 33), (1, 14, 14)]:
        case.conv.x = rng.standard_normal((n, 20, height, width)).astype(np.float32)
        assert_close(runtime.run(session, case.conv.feed)[0], dense_output(case.conv), unified_tolerance(case))


@pytest.mark.parametrize(
    ("x_shape", "attributes", "y_shape"),
    [
        ([2, 8, 14, 17], PADDED, [2, 8, 14, 17]),
        (["N", 8, "H", "W"], {"auto_pad": "SAME_LOWER", "strides": [1, 2]}, ["N", 8, "H", "ceil(W/2)"]),
    ],
)
def test_output_shape_is_inferred(x_shape: list[Any], attributes: dict[str, Any], y_shape: list[Any]) -> None:
    case = unified_case((8, 8, 3, 3), (1, 8, 14, 17), **attributes)
    case.conv.x_shape = x_shape
    model = stripped(unified_model(case))  # the body would tell the runtime as well
    assert runtime.session(model.SerializeToString(), threads=1).get_outputs()[0].shape == y_shape
