"""SparseGemm's and SparseMatMul's kernel, through ONNX Runtime, against their definition and ONNX Runtime's own."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxcomp.formats import sparse_gemm
from onnxcomp.formats.activation import ACTIVATIONS
from onnxcomp.runtime import session as runtime
from tests.runtime.gemm_models import Case, expected, gemm_model, random_case, run, tolerance

CASES: dict[str, Case] = {
    "one row": random_case(40, (1, 100)),
    "one output": random_case(1, (1, 100)),
    "one column": random_case(7, (3, 1), density=1),
    "four rows": random_case(70, (4, 130)),
    "five rows": random_case(70, (5, 130)),
    "sixteen rows": random_case(33, (16, 1100), density=0.1),
    "many rows": random_case(20, (150, 70)),
    "many columns": random_case(50, (1, 5000), density=0.1),
    "several tasks": random_case(900, (1, 3000), density=0.2),
    "several tasks, rows": random_case(700, (20, 1300), density=0.1),
    "a vector": random_case(20, (50,)),
    "rank 3": random_case(20, (2, 7, 50)),
    "rank 4": random_case(20, (2, 3, 5, 50)),
    "a matrix by SparseMatMul": random_case(20, (6, 50), op="SparseMatMul"),
    "all zeros": random_case(20, (3, 50), density=0),
    "no zeros": random_case(20, (3, 50), density=1),
}


def assert_close(got: np.ndarray, want: np.ndarray, allowed: np.ndarray) -> None:
    assert got.shape == want.shape
    excess = np.abs(got - want) - allowed
    assert excess.size == 0 or excess.max() <= 0, f"off by {np.abs(got - want).max()}"


@pytest.mark.parametrize("name", CASES)
def test_equals_its_definition(name: str) -> None:
    case = CASES[name]
    model = gemm_model(case)
    for library in (True, False):
        assert_close(run(model, case.x, library), expected(case), tolerance(case))


def test_empty_outputs_are_the_bias() -> None:
    case = random_case(40, (3, 100))
    case.weight[7] = 0
    assert np.array_equal(run(gemm_model(case), case.x)[:, 7], np.full(3, case.bias[7]))


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize("op", sparse_gemm.FORMS)
def test_every_form_equals_its_body(op: str, rows: int) -> None:
    case = random_case(21, (rows, 90), op=op)
    values = {"clip_min": -0.5, "clip_max": 6.0, "alpha": 0.1}
    case.attributes = {name: values[name] for name in ACTIVATIONS[case.form.activation]}
    model = gemm_model(case)
    # The activations' slopes are at most 1.1; ONNX Runtime's Sigmoid itself is good to about 1e-6.
    allowed = 2 * 1.1 * tolerance(case) + 1e-6
    assert_close(run(model, case.x), run(model, case.x, library=False), allowed)


def test_float16_values_are_decoded() -> None:
    case = random_case(40, (2, 100))
    case.weight = case.weight.astype(np.float16).astype(np.float32)
    model = gemm_model(case)
    assert model.graph.initializer[1].data_type == 10
    assert_close(run(model, case.x), expected(case), tolerance(case))


@pytest.mark.parametrize("shape", [(0, 50), (2, 0, 50)])
def test_empty_batch(shape: tuple[int, ...]) -> None:
    case = random_case(20, (*shape[:-1], 50))
    case.x_shape = [f"d{i}" for i in range(len(shape) - 1)] + [50]
    assert run(gemm_model(case), case.x).shape == (*shape[:-1], 20)


def test_rows_may_change_between_runs() -> None:
    case = random_case(60, (1, 700), density=0.2)
    case.x_shape = ["N", 700]
    session = runtime.session(gemm_model(case).SerializeToString(), threads=1)
    rng = np.random.default_rng(3)
    for rows in (1, 40, 4, 17, 1, 70):
        case.x = rng.standard_normal((rows, 700)).astype(np.float32)
        assert_close(runtime.run(session, {"X": case.x})[0], expected(case), tolerance(case))


def test_concurrent_runs_of_one_session() -> None:
    case = random_case(300, (30, 900), density=0.2)
    case.x_shape = ["N", 900]
    session = runtime.session(gemm_model(case).SerializeToString(), threads=2)
    feeds = [{"X": np.ascontiguousarray(case.x[:rows])} for rows in (1, 3, 9, 30)] * 4
    with ThreadPoolExecutor(4) as pool:  # the first runs pack what the session has not yet
        together = list(pool.map(lambda feed: runtime.run(session, feed)[0], feeds))
    for got, feed in zip(together, feeds, strict=True):
        assert np.array_equal(got, runtime.run(session, feed)[0])


@pytest.mark.parametrize("rows", [1, 3, 20])
@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_what_is_no_number_reaches_the_outputs_that_read_it(rows: int, special: float) -> None:
    case = random_case(60, (rows, 600), density=0.1)
    case.x[rows - 1, 321] = special
    finite = np.isfinite(run(gemm_model(case), case.x))
    assert np.array_equal(finite[rows - 1], case.weight[:, 321] == 0)
    assert finite[: rows - 1].all()


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any layer small enough to be quick."""
    leading = tuple(draw(st.lists(st.integers(1, 9), max_size=3)))
    return random_case(
        draw(st.integers(1, 90)),
        (*leading, draw(st.integers(1, 1200))),
        density=draw(st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0])),
        seed=draw(st.integers(0, 1000)),
    )


@settings(max_examples=100, deadline=None)
@given(cases())
def test_any_shape_equals_its_definition(case: Case) -> None:
    assert_close(run(gemm_model(case), case.x), expected(case), tolerance(case))
