"""Every measure of one output, against its definition; and the values that are no ordinary numbers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnxcomp.verify import OutputComparison, Tolerance
from onnxcomp.verify import output as output_module
from onnxcomp.verify.output import OutputErrors

EPSILON = float(np.finfo(np.float32).eps)


def compared(*pairs: tuple[object, object], **tolerance: float) -> OutputComparison:
    errors = OutputErrors("y", Tolerance(**tolerance))
    for a, b in pairs:
        errors.add(a, b)
    return errors.result()


def f(*values: float) -> np.ndarray:
    return np.array([values], np.float32)


@settings(deadline=None)
@given(
    a=arrays(np.float32, (6, 5), elements=st.floats(-1e3, 1e3, width=32)),
    cut=st.integers(0, 6),
    seed=st.integers(0, 99),
)
def test_measures_are_what_they_say(a: np.ndarray, cut: int, seed: int) -> None:
    b = (a + 0.01 * np.random.default_rng(seed).standard_normal(a.shape)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output_module, "_SLICE", 7)
        found = compared((a[:cut], b[:cut]), (a[cut:], b[cut:]))
    x, y = a.astype(np.float64), b.astype(np.float64)
    d = np.abs(y - x)
    assert found.elements == 30
    assert found.max_abs == d.max()
    assert found.mean_abs == pytest.approx(d.mean())
    assert found.p99_abs == d.max()
    rel = np.zeros_like(d)
    for part in (slice(None, cut), slice(cut, None)):
        scale = np.abs(x[part]).max(initial=0.0)
        floor = np.maximum(np.abs(x[part]), EPSILON * scale)
        rel[part] = d[part] / floor if scale else d[part] > 0
    assert found.max_rel == rel.max()
    assert found.mean_rel == pytest.approx(rel.mean())
    norm = np.linalg.norm(x)
    assert found.rel_l2 == pytest.approx(np.linalg.norm(d) / norm if norm else 1.0)
    expected = float((x * y).sum() / (norm * np.linalg.norm(y))) if norm else 0.0
    assert found.cosine == pytest.approx(expected, abs=1e-9)
    assert found.argmax_agreement == pytest.approx((a.argmax(1) == b.argmax(1)).mean())


def test_equal_outputs() -> None:
    found = compared((f(1, -2, 3), f(1, -2, 3)))
    assert found.passed and found.reason is None
    assert (found.max_abs, found.max_rel, found.rel_l2, found.cosine, found.argmax_agreement) == (0, 0, 0, 1, 1)


def test_the_error_decides() -> None:
    assert compared((f(1000, 0), f(1000.9, 0))).passed
    found = compared((f(1000, 0), f(1001.1, 0)))
    assert not found.passed and "relative L2 error 0.0011 is above 0.001" in (found.reason or "")
    assert compared((f(1000, 0), f(1001.1, 0)), max_error=0.01).passed


def test_elementwise_limits_take_its_place() -> None:
    pair = (f(1000, 1), f(1000, 1.1))
    assert compared(pair).passed
    assert not compared(pair, atol=0.05).passed
    assert compared(pair, atol=0.11).passed
    assert not compared(pair, rtol=0.05).passed
    assert compared(pair, rtol=0.11).passed
    assert compared(pair, rtol=0.06, atol=0.06).passed
    assert "1 of 2 elements are outside atol 0, rtol 0.05" in (compared(pair, rtol=0.05).reason or "")


def test_a_reference_of_zeros() -> None:
    same = compared((f(0, 0), f(0, 0)))
    assert same.passed and (same.rel_l2, same.cosine, same.max_rel) == (0, 1, 0)
    other = compared((f(0, 0), f(0, 1e-6)))
    assert not other.passed and (other.rel_l2, other.cosine, other.max_rel, other.mean_rel) == (1, 0, 1, 0.5)
    assert compared((f(0, 0), f(0, 1e-6)), atol=1e-5).passed


def test_not_a_number_in_both_is_equal() -> None:
    a = f(1, np.nan, np.inf, -np.inf)
    found = compared((a, a))
    assert found.passed and found.unequal == 0
    assert (found.nan, found.inf, found.rel_l2) == ((1, 1), (2, 2), 0)


@pytest.mark.parametrize(("a", "b"), [(np.nan, 1), (1, np.nan), (np.inf, -np.inf), (np.inf, 1), (np.nan, np.inf)])
def test_not_a_number_in_one_is_not(a: float, b: float) -> None:
    found = compared((f(5, a), f(5, b)), atol=1e9)
    assert not found.passed and found.unequal == 1
    assert "1 elements are NaN or Inf in one model only" in (found.reason or "")
    assert found.max_abs == 0


def test_integers_differ_or_do_not() -> None:
    a = np.arange(2000)
    b = a.copy()
    b[0] = 7
    assert compared((a, b)).passed and compared((a, b)).unequal == 1
    found = compared((a[:999], b[:999]))
    assert not found.passed and found.reason == "1 of 999 elements differ"
    assert found.max_abs == 7
    assert compared((a[:999], b[:999]), atol=7).passed
    big = np.array([2**53], np.int64)
    assert compared((big, big + 1)).unequal == 1


def test_bools_and_strings() -> None:
    assert compared((np.array([True, False]), np.array([True, False]))).passed
    assert not compared((np.array([True, False]), np.array([True, True]))).passed
    words = np.array(["a", "b"], object)
    assert compared((words, words)).passed
    found = compared((words, np.array(["a", "c"], object)), atol=1.0)
    assert not found.passed and (found.max_abs, found.cosine, found.unequal) == (None, None, 1)


def test_empty_outputs() -> None:
    found = compared((np.zeros((0, 5), np.float32), np.zeros((0, 5), np.float32)))
    assert found.passed and (found.elements, found.rel_l2, found.cosine, found.argmax_agreement) == (0, 0, 1, None)


def test_what_cannot_be_compared() -> None:
    found = compared((f(1, 2), f(1, 2, 3)))
    assert not found.passed and found.reason == "its shape is [1, 2] in one and [1, 3] in the other"
    assert found.rel_l2 is None
    assert compared(([f(1)], [f(1)])).reason == "it is a list, only tensors can be compared"


@pytest.mark.parametrize(
    ("shape", "agreement"),
    [((4, 3), 0.75), ((4, 3, 1, 1), 0.75), ((4, 1, 1, 3), 0.75), ((4, 1), None), ((4, 3, 2), None), ((12,), None)],
)
def test_agreement_where_there_are_classes(shape: tuple[int, ...], agreement: float | None) -> None:
    a = np.zeros((4, int(np.prod(shape)) // 4), np.float32)
    a[:, 0] = 1
    b = a.copy()
    b[1, -1] = 2
    assert compared((a.reshape(shape), b.reshape(shape))).argmax_agreement == agreement


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_float_and_json(dtype: type) -> None:
    a = np.linspace(1, 2, 50, dtype=dtype)
    found = compared((a, a * dtype(1.5)))
    assert found.rel_l2 == pytest.approx(0.5, rel=1e-3)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["name"] == "y"


def test_numbers_that_json_has_no_word_for() -> None:
    found = compared((np.array([1e300, 1.0]), np.array([-1e300, 1.0])))
    assert not found.passed and found.rel_l2 is not None and math.isnan(found.rel_l2)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["rel_l2"] is None
