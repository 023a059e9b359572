"""sparse-weight: which weights are stored as bitmaps, and that the layers get the same bits."""

import numpy as np
import pytest

from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite, sparse


def x(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def test_stores_a_fully_connected_weight() -> None:
    text = "net (float[N, 64] x) => (float[N, 32] y) {\n[fc] y = Gemm <transB = 1> (x, w)\n}"
    model = model_of(text, {"w": sparse((32, 64))})
    done, result = rewrite(model, "sparse-weight")
    assert ops(done.model) == ["SparseWeight", "Gemm"]
    assert done.model.size_bytes() < model.size_bytes()
    assert result.applied[0].rewrite_error == 0
    assert_equal(model, done.model, 0, x=x(3, 64))


@pytest.mark.parametrize("constant_first", [True, False])
def test_stores_a_matrix_on_either_side(constant_first: bool) -> None:
    product = "MatMul (w, x)" if constant_first else "MatMul (x, w)"
    model = model_of(f"net (float[32, 32] x) => (float[32, 32] y) {{\n[fc] y = {product}\n}}", {"w": sparse((32, 32))})
    done, _ = rewrite(model, "sparse-weight")
    assert ops(done.model) == ["SparseWeight", "MatMul"]
    assert_equal(model, done.model, 0, x=x(32, 32))


def test_a_shared_weight_is_stored_once() -> None:
    text = "net (float[N, 32] x) => (float[N, 32] y) {\n[a] t = MatMul (x, w)\n[b] y = MatMul (t, w)\n}"
    model = model_of(text, {"w": sparse((32, 32))})
    done, _ = rewrite(model, "sparse-weight")
    assert ops(done.model) == ["SparseWeight", "MatMul", "MatMul"]
    assert_equal(model, done.model, 0, x=x(2, 32))


def test_half_and_double_precision_keep_their_type() -> None:
    for dtype, kind in ((np.float16, "float16"), (np.float64, "double")):
        text = f"net ({kind}[N, 64] x) => ({kind}[N, 64] y) {{\n[fc] y = MatMul (x, w)\n}}"
        model = model_of(text, {"w": sparse((64, 64)).astype(dtype)})
        done, _ = rewrite(model, "sparse-weight")
        assert ops(done.model) == ["SparseWeight", "MatMul"]
        assert_equal(model, done.model, 0, x=x(2, 64).astype(dtype))


@pytest.mark.parametrize(
    ("weight", "reason"), [(sparse((64, 64), 0.05), "would save less"), (sparse((8, 8)), "is small (256 bytes)")]
)
def test_declines_with_its_reason(weight: np.ndarray, reason: str) -> None:
    n = weight.shape[0]
    model = model_of(f"net (float[N, {n}] x) => (float[N, {n}] y) {{\n[fc] y = MatMul (x, w)\n}}", {"w": weight})
    done, result = rewrite(model, "sparse-weight")
    assert reason in reasons(result)["fc"]
    assert ops(done.model) == ["MatMul"]
