"""BasisConv in ONNX Runtime: equal to a dense Conv with the combined weight, and to its own function body."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from onnxcomp.formats import basis_conv
from onnxcomp.formats.activation import ACTIVATIONS
from onnxcomp.runtime import session as runtime
from tests.runtime.basis_models import basis_case, basis_model, basis_tolerance
from tests.runtime.hostile import stripped
from tests.runtime.sparse_models import EPSILON, Case, dense_output, random_case, run

CASES: dict[str, Case] = {
    "3x3": random_case((8, 6, 3, 3), (1, 6, 14, 14), pads=[1, 1, 1, 1]),
    "no attributes": random_case((8, 6, 3, 3), (1, 6, 9, 9)),
    "stride 2, asymmetric pads": random_case((8, 6, 3, 3), (2, 6, 13, 17), pads=[0, 1, 1, 2], strides=[2, 2]),
    "dilations": random_case((5, 4, 3, 3), (1, 4, 31, 20), dilations=[2, 4], pads=[2, 4, 2, 4]),
    "groups": random_case((12, 3, 5, 5), (1, 12, 27, 27), group=4, pads=[2, 2, 2, 2]),
    "SAME_LOWER": random_case((5, 4, 4, 4), (1, 4, 15, 16), auto_pad="SAME_LOWER", strides=[2, 3]),
    "SAME_UPPER, cropped": random_case((5, 4, 1, 1), (1, 4, 15, 16), auto_pad="SAME_UPPER", strides=[4, 5]),
    "1-D": random_case((8, 16, 3), (2, 16, 101), pads=[1, 1]),
    "1-D, long and strided": random_case((4, 1, 400), (1, 1, 3000), strides=[160], density=0.5),
    "several blocks of channels": random_case((40, 300, 3, 3), (1, 300, 28, 28), pads=[1, 1, 1, 1], density=0.1),
    "all zeros": random_case((8, 6, 3, 3), (1, 6, 14, 14), pads=[1, 1, 1, 1], density=0),
}


def assert_close(got: np.ndarray, expected: np.ndarray, allowed: np.ndarray | float) -> None:
    assert got.shape == expected.shape
    assert np.all(np.abs(got - expected) <= allowed), f"off by {np.abs(got - expected).max()}"


@pytest.mark.parametrize("bases", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_equals_dense(name: str, bases: int) -> None:
    case = basis_case(CASES[name], bases)
    got = run(stripped(basis_model(case)), case.conv.feed)
    assert_close(got, dense_output(case.conv), basis_tolerance(case))


@pytest.mark.parametrize("op", basis_conv.EPILOGUES)
def test_every_form_equals_its_body(op: str) -> None:
    case = basis_case(random_case((16, 20, 3, 3), (2, 20, 11, 9), pads=[1, 1, 1, 1]), 2)
    allowed = 1.1 * basis_tolerance(case) + 1e-6  # the activations' slopes; ONNX Runtime's own Sigmoid
    case.conv.epilogue = basis_conv.EPILOGUES[op]
    if case.conv.epilogue.residual:
        case.conv.z = np.random.default_rng(1).standard_normal(allowed.shape).astype(np.float32)
        allowed += 2 * EPSILON * np.abs(case.conv.z)
    options: dict[str, Any] = {"clip_min": -0.5, "clip_max": 6.0, "alpha": 0.1}
    case.conv.attributes |= {name: options[name] for name in ACTIVATIONS[case.conv.epilogue.activation]}
    model = basis_model(case)
    with_body_only = run(model, case.conv.feed, library=False)
    assert_close(run(stripped(model), case.conv.feed), with_body_only, allowed)


def test_float16_coefficients_are_decoded() -> None:
    case = basis_case(CASES["3x3"], 2)
    case.coefficients = case.coefficients.astype(np.float16).astype(np.float32)
    case.conv.weight = np.tensordot(case.coefficients, case.bases, 1)
    model = stripped(basis_model(case))
    assert [tensor.data_type for tensor in model.graph.initializer if tensor.name == "values"] == [10]
    assert_close(run(model, case.conv.feed), dense_output(case.conv), basis_tolerance(case))


def test_empty_batch() -> None:
    case = basis_case(random_case((8, 6, 3, 3), (0, 6, 14, 14), pads=[1, 1, 1, 1]), 2)
    case.conv.x_shape = ["N", 6, 14, 14]
    assert run(stripped(basis_model(case)), case.conv.feed).shape == (0, 8, 14, 14)


@pytest.mark.parametrize("strides", [[1, 1], [2, 1]])
def test_sizes_may_change_between_runs(strides: list[int]) -> None:
    case = basis_case(random_case((8, 20, 3, 3), (1, 20, 14, 14), pads=[1, 1, 1, 1], strides=strides), 2)
    case.conv.x_shape = ["N", 20, "H", "W"]
    session = runtime.session(stripped(basis_model(case)).SerializeToString(), threads=1)
    rng = np.random.default_rng(3)
    for n, height, width in [(1, 14, 14), (3, 14, 14), (1, 1, 1), (2, 57, 33), (1, 14, 14)]:
        case.conv.x = rng.standard_normal((n, 20, height, width)).astype(np.float32)
        assert_close(runtime.run(session, case.conv.feed)[0], dense_output(case.conv), basis_tolerance(case))


def test_concurrent_runs_of_one_session() -> None:
    case = basis_case(CASES["several blocks of channels"], 2)
    case.conv.x_shape = [1, 300, "H", "W"]
    session = runtime.session(stripped(basis_model(case)).SerializeToString(), threads=2)
    feeds = [{"X": np.ascontiguousarray(case.conv.x[:, :, : 28 - i, :])} for i in range(4)] * 4
    expected = [runtime.run(session, feed)[0] for feed in feeds]
    with ThreadPoolExecutor(4) as pool:
        for got, alone in zip(pool.map(lambda feed: runtime.run(session, feed)[0], feeds), expected, strict=True):
            assert np.array_equal(got, alone)


@pytest.mark.parametrize(
    ("x_shape", "attributes", "y_shape"),
    [
        ([2, 6, 14, 17], {"pads": [1, 1, 1, 1]}, [2, 8, 14, 17]),
        (["N", 6, "H", "W"], {"auto_pad": "SAME_LOWER", "strides": [1, 2]}, ["N", 8, "H", "ceil(W/2)"]),
        (["N", 6, "H", 17], {"pads": [0, 1, 1, 1], "strides": [2, 2]}, ["N", 8, "floor((H-2)/2)+1", 9]),
    ],
)
def test_output_shape_is_inferred(x_shape: list[Any], attributes: dict[str, Any], y_shape: list[Any]) -> None:
    case = basis_case(random_case((8, 6, 3, 3), (1, 6, 14, 17), **attributes), 2)
    case.conv.x_shape = x_shape
    model = stripped(basis_model(case))  # the body would tell the runtime as well
    assert runtime.session(model.SerializeToString(), threads=1).get_outputs()[0].shape == y_shape
