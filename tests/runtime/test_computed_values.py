"""Nonzeros that are no constants when the kernel is created: out of a codebook that is not folded, or from outside."""

from functools import partial

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from onnxcomp.errors import ModelError
from onnxcomp.formats import codebook
from onnxcomp.runtime import session as runtime
from tests.runtime import gemm_models
from tests.runtime.basis_models import basis_case, basis_model
from tests.runtime.hostile import stripped, with_input, with_tensor
from tests.runtime.sparse_models import OPSET, random_case, sparse_model, structured_case

CONV = ((32, 32, 3, 3), (1, 32, 8, 8))
# Every operator and every way it packs a weight.
CASES = {
    "elements": lambda: sparse_model(random_case(*CONV)),
    "n:16": lambda: sparse_model(structured_case("4:16", *CONV)),
    "4x1": lambda: sparse_model(structured_case("4x1", *CONV)),
    "16x1": lambda: sparse_model(structured_case("16x1", *CONV)),
    "bases": lambda: basis_model(basis_case(random_case(*CONV), 2)),
    "one row": lambda: gemm_models.gemm_model(gemm_models.random_case(48, (1, 64))),
    "many rows": lambda: gemm_models.gemm_model(gemm_models.random_case(48, (70, 64))),
}
LEVELS = {
    name: getattr(ort.GraphOptimizationLevel, f"ORT_{name}")
    for name in ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL")
}
TOLERANCE = 1e-5  # relative L2: float32 sums of some 300 products, in another order


def few(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Some dozens of distinct values, no float16 ones among them."""
    rounded: NDArray[np.float32] = (np.round(values * 8) / 8 + 0.1).astype(np.float32)
    return rounded


def constant(model: ModelProto) -> ModelProto:
    """The model with nonzeros of few values."""
    return with_tensor(model, "values", few)


def coded(model: ModelProto) -> ModelProto:
    """The same, decoded from a codebook by a function."""
    (values,) = (tensor for tensor in model.graph.initializer if tensor.name == "values")
    array = numpy_helper.to_array(values)
    stored = codebook.encode(array)
    assert stored is not None
    model.graph.initializer.remove(values)
    arrays = {"ids": stored.ids, "codebook": stored.codebook}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in arrays.items())
    model.graph.node.insert(0, codebook.node(stored.op, list(arrays), "values", array.shape))
    model.functions.append(codebook.function(stored.op, OPSET))
    return model


def output(
    model: ModelProto, library: bool = True, level: ort.GraphOptimizationLevel = LEVELS["ENABLE_ALL"], runs: int = 1
) -> NDArray[np.float32]:
    """The model's output, of its last run, on seeded inputs."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = level
    session = ort.InferenceSession(
        model.SerializeToString(), runtime.register(options) if library else options, ["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(1)
    feed = {port.name: rng.standard_normal(port.shape).astype(np.float32) for port in session.get_inputs()}
    results = [session.run(None, feed)[0] for _ in range(runs)]
    last: NDArray[np.float32] = results[-1]
    return last


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("case", CASES)
def test_a_codebook_serves_the_kernel(case: str, level: str) -> None:
    """To the bit: it packs the same numbers, whether the runtime folds them or they are computed in every run."""
    got = output(coded(constant(CASES[case]())), level=LEVELS[level], runs=2)
    np.testing.assert_array_equal(got, output(constant(CASES[case]())))


@pytest.mark.parametrize("case", CASES)
def test_a_codebook_serves_a_runtime_without_the_library(case: str) -> None:
    want = output(constant(CASES[case]()))
    for level in (LEVELS["DISABLE_ALL"], LEVELS["ENABLE_ALL"]):
        got = output(coded(constant(CASES[case]())), library=False, level=level)
        assert np.linalg.norm(got - want) <= TOLERANCE * np.linalg.norm(want)


@pytest.mark.parametrize("case", CASES)
def test_values_from_outside_are_those_of_the_run(case: str) -> None:
    """Nothing of another run's weight stays; the library refuses in the run what it cannot check before."""
    model = CASES[case]()
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == "values")
    values = numpy_helper.to_array(tensor).astype(np.float32)
    open_model = with_input(stripped(CASES[case]()), "values", TensorProto.FLOAT, ["n"])
    session = runtime.session(open_model.SerializeToString(), threads=1)
    x = session.get_inputs()[0]
    run = partial(runtime.run, session)
    feed = {x.name: np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)}
    for factor in (1.0, -2.0):
        scaled = (values * factor).astype(np.float32)
        want = output(with_tensor(CASES[case](), "values", lambda _, scaled=scaled: scaled))
        np.testing.assert_array_equal(run({**feed, "values": scaled})[0], want)
    with pytest.raises(ModelError, match=f"node 'the_node': (mask marks .* |values has ){values.size - 1}"):
        run({**feed, "values": values[1:]})
