"""UnifiedGemm and UnifiedMatMul in ONNX Runtime: equal to a dense product, and to their own function bodies."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxcomp.errors import ModelError
from onnxcomp.formats import unified, unified_gemm
from onnxcomp.formats.activation import ACTIVATIONS
from onnxcomp.formats.find_unified import BLOCKS
from onnxcomp.formats.functions import DOMAIN, DOMAIN_VERSION
from onnxcomp.formats.unified import Block
from onnxcomp.formats.unified_body import INPUTS
from onnxcomp.runtime import session as runtime
from tests.runtime.gemm_models import OPSET, Case, expected, random_case, run, tolerance
from tests.runtime.hostile import assert_refused, stripped, with_attribute, with_input, with_tensor
from tests.runtime.unified_models import random_weight

Options = dict[str, Any]


def unified_case(outputs: int, x_shape: tuple[int, ...], block: Block = (4, 4), **options: Any) -> Case:
    """A layer with random data and a weight of random_weight."""
    case = random_case(outputs, x_shape, op="SparseGemm" if len(x_shape) == 2 else "SparseMatMul")
    case.weight = random_weight(case.weight.shape, block, **options)
    return case


def unified_model(
    case: Case, block: Block = (4, 4), levels: tuple[float, ...] = (1.0,), activation: str = "", **attributes: Any
) -> ModelProto:
    """The case as a node with its function body."""
    stored = unified.encode(case.weight, block, levels)
    form = unified_gemm.Form(case.form.any_rank, activation)
    outputs, columns = case.weight.shape
    node = unified_gemm.node(form, ["X", *INPUTS, "B"], "Y", (outputs, columns), stored, "the_node", **attributes)
    constants = {name: getattr(stored, name) for name in INPUTS} | {"B": case.bias}
    graph = helper.make_graph(
        [node],
        "case",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, case.x_shape or list(case.x.shape))],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
    body = unified_gemm.function(form, OPSET)
    return helper.make_model(graph, opset_imports=opsets, functions=[body], ir_version=8)


def assert_right(case: Case, model: ModelProto) -> None:
    got = run(stripped(model), case.x)
    wanted = expected(case)
    assert got.shape == wanted.shape
    assert np.all(np.abs(got - wanted) <= 1.01 * tolerance(case) + 4e-7 * np.abs(wanted))  # Y's own rounding; sums'


@pytest.mark.parametrize("x_shape", [(1, 64), (5, 64), (40, 36), (64,), (2, 3, 64)])
@pytest.mark.parametrize("outputs", [4, 100, 132])
def test_equals_dense(outputs: int, x_shape: tuple[int, ...]) -> None:
    case = unified_case(outputs, x_shape, zero=0.2)
    assert_right(case, unified_model(case))


@pytest.mark.parametrize("levels", [(1.0,), (1.0, 0.0), (1.0, 0.5, 0.0)])
@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_and_levels(block: Block, levels: tuple[float, ...]) -> None:
    case = unified_case(32, (3, 48), block, levels=levels, zero=0.2, free=0.1)
    assert_right(case, unified_model(case, block, levels))


def test_scales_of_float32() -> None:
    case = unified_case(64, (2, 64))
    case.weight *= np.float32(1.1)
    assert_right(case, unified_model(case))


def test_large_enough_for_several_tasks() -> None:
    case = unified_case(2048, (1, 1024), zero=0.5)
    assert_right(case, unified_model(case))


@pytest.mark.parametrize("free", [0.0, 0.2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("x_shape", [(3, 64), (2, 3, 64)])
def test_every_form_equals_its_body(x_shape: tuple[int, ...], activation: str, free: float) -> None:
    case = unified_case(32, x_shape, free=free)
    options: Options = {"clip_min": -0.5, "clip_max": 6.0, "alpha": 0.1}
    attributes = {name: options[name] for name in ACTIVATIONS[activation]}
    model = unified_model(case, activation=activation, **attributes)
    with_body_only = run(model, case.x, library=False)
    allowed = 2.2 * tolerance(case) + 1e-6  # the activations' slopes; ONNX Runtime's own Sigmoid
    assert np.all(np.abs(run(stripped(model), case.x) - with_body_only) <= allowed)


def test_an_empty_batch() -> None:
    case = unified_case(8, (0, 16))
    case.x_shape = ["M", 16]
    assert run(stripped(unified_model(case)), case.x).shape == (0, 8)


@pytest.mark.parametrize(("x_shape", "y_shape"), [(["M", 16], ["M", 8]), (["N", 7, 16], ["N", 7, 8])])
def test_output_shape_is_inferred(x_shape: list[int | str], y_shape: list[int | str]) -> None:
    case = unified_case(8, (1,) * (len(x_shape) - 1) + (16,))
    case.x_shape = x_shape
    model = stripped(unified_model(case))
    assert runtime.session(model.SerializeToString(), threads=1).get_outputs()[0].shape == y_shape


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weight_shape", None, "weight_shape is missing"),
        ("weight_shape", [8, 16, 1], "3 dimensions"),
        ("weight_shape", [2**31, 2], "more than 2147483648 elements"),
        ("weight_shape", [8, 12], "scales has 8 values, the weight has 6 blocks"),
        ("weight_shape", [8, 18], "do not divide"),
        ("block", [8, 8], "scales has 8 values, the weight has 2 blocks"),
        ("levels", [1.0, -1.0, 0.0], "digits has shape"),
        ("to", 10, "float32"),
    ],
)
def test_attribute_is_refused(name: str, value: Any, message: str) -> None:
    assert_refused(with_attribute(stripped(unified_model(unified_case(8, (1, 16)))), name, value), message)


def test_wrong_or_open_constants_are_refused() -> None:
    """What UnifiedConv refuses as well, test_hostile_unified.py asks of that."""
    model = stripped(unified_model(unified_case(8, (1, 16))))
    assert_refused(with_tensor(model, "scales", lambda scales: scales * np.nan), "scales are positive and finite")
    model = stripped(unified_model(unified_case(8, (1, 16))))
    assert_refused(with_input(model, "digits", TensorProto.UINT8, ["n", 2]), "digits must be a constant")


def test_input_is_refused() -> None:
    model = stripped(unified_model(unified_case(8, (1, 16))))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    session = runtime.session(model.SerializeToString(), threads=1)
    with pytest.raises(ModelError, match="the weight needs 16 columns"):
        runtime.run(session, {"X": np.zeros((1, 15), np.float32)})
