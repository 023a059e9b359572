"""codebook: which constants are stored as ids, in which form, and that the layers get the same bits."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite, sparse

OVERHEAD_BYTES = 6144  # the functions' bodies, with tables of 2 KiB each, and names
MATMUL = "net (float[N, 64] x) => (float[N, 64] y) {\n[fc] y = MatMul (x, w)\n}"
CONV = "net (float[1, 16, 8, 8] x) => (float[1, 32, 6, 6] y) {\n[conv] y = Conv (x, w)\n}"


def x(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


def few(shape: tuple[int, ...], values: int, zeros: float = 0.0) -> NDArray[np.float32]:
    """A weight of so many values beside its zeros, none of which float16 holds."""
    levels = np.arange(1, values + 1, dtype=np.float32) / np.float32(10 * values)
    picks = np.arange(np.prod(shape)).reshape(shape) % values
    return levels[picks] * (sparse(shape, zeros) != 0 if zeros else np.float32(1))


@pytest.mark.parametrize(
    ("weight", "names", "shown"),
    [
        (few((64, 64), 200), ["Codebook8"], 200),
        (few((64, 64), 16), ["Codebook4"], 16),
        (few((64, 64), 3, zeros=0.1), ["Codebook2"], 4),
        (few((64, 64), 2), ["Codebook1"], 2),
        (few((64, 64), 200, zeros=0.05), ["Codebook8"], 201),
        (few((64, 64), 200, zeros=0.6), ["Codebook8", "SparseWeight"], 200),
        (few((64, 64), 256, zeros=0.05), ["Codebook8", "SparseWeight"], 256),
        (few((64, 64), 2, zeros=0.5), ["Codebook1", "SparseWeight"], 2),
    ],
)
def test_the_smaller_form_is_taken(weight: NDArray[np.float32], names: list[str], shown: int) -> None:
    model = model_of(MATMUL, {"w": weight})
    done, result = rewrite(model, "codebook")
    assert ops(done.model) == [*names, "MatMul"]
    assert result.applied[0].candidate.options == {"values": shown}
    assert result.applied[0].rewrite_error == 0
    before, after = result.applied[0].candidate.size_bytes
    assert done.model.size_bytes() < model.size_bytes() - (before - after) + OVERHEAD_BYTES
    assert_equal(model, done.model, 0, x=x(3, 64))


def test_a_bitmap_is_left_to_sparse_weight_where_it_is_smaller() -> None:
    """Some 40 nonzeros of 36 values: their list is longer than what ids save."""
    weight = few((64, 64), 150, zeros=0.99)
    done, _ = rewrite(model_of(MATMUL, {"w": weight}), "codebook,sparse-weight")
    assert ops(done.model) == ["SparseWeight", "MatMul"]
    assert "a bitmap of the zeros alone is smaller" in reasons(done.passes[0])["fc"]


@pytest.mark.parametrize("pipeline", ["codebook,sparse-weight", "sparse-weight,codebook"])
def test_either_order_stores_both(pipeline: str) -> None:
    weight = few((64, 64), 200, zeros=0.6)
    model = model_of(MATMUL, {"w": weight})
    done, result = rewrite(model, pipeline)
    assert ops(done.model) == ["Codebook8", "SparseWeight", "MatMul"]
    assert reasons(result)["fc"] == f"its weight is decoded by {ops(done.model)[1]} already"
    assert_equal(model, done.model, 0, x=x(3, 64))


@pytest.mark.parametrize("zeros", [0.6, 0.9])
@pytest.mark.parametrize("text", [MATMUL, CONV])
def test_nonzeros_of_sparse_operators_are_stored(text: str, zeros: float) -> None:
    shape = (32, 16, 3, 3) if text is CONV else (64, 64)
    model = model_of(text, {"w": few(shape, 60, zeros)})
    done, result = rewrite(model, "sparse-conv{when=always},sparse-gemm{when=always},codebook")
    assert ops(done.model) == ["Codebook8", "SparseConv" if text is CONV else "SparseGemm"]
    assert result.applied[0].rewrite_error == 0
    assert_equal(model, done.model, 1e-6, x=x(1, 16, 8, 8) if text is CONV else x(3, 64))


def test_a_shared_weight_is_stored_once() -> None:
    text = "net (float[N, 64] x) => (float[N, 64] y) {\n[a] t = MatMul (x, w)\n[b] y = MatMul (t, w)\n}"
    model = model_of(text, {"w": few((64, 64), 9, zeros=0.6)})
    done, _ = rewrite(model, "codebook")
    assert ops(done.model) == ["Codebook4", "SparseWeight", "MatMul", "MatMul"]
    assert_equal(model, done.model, 0, x=x(3, 64))


@pytest.mark.parametrize(("dtype", "kind"), [(np.float16, "float16"), (np.float64, "double")])
@pytest.mark.parametrize("zeros", [0.0, 0.6])
def test_half_and_double_precision_keep_their_type(dtype: type, kind: str, zeros: float) -> None:
    model = model_of(MATMUL.replace("float[", f"{kind}["), {"w": few((64, 64), 100, zeros).astype(dtype)})
    done, _ = rewrite(model, "codebook")
    assert ops(done.model) == ["Codebook8", *(["SparseWeight"] if zeros else []), "MatMul"]
    assert_equal(model, done.model, 0, x=x(2, 64).astype(dtype))


def test_values_that_are_no_numbers_are_kept_to_the_bit() -> None:
    weight = few((64, 64), 5)
    weight.view(np.uint32)[0, :3] = [0x80000000, 0x7FC00001, 0x7F800000]
    done, _ = rewrite(model_of(MATMUL, {"w": weight}), "codebook")
    assert ops(done.model) == ["Codebook4", "MatMul"]
    stored = done.passes[0].applied[0].candidate.after
    assert stored is not None and 0x7FC00001 in stored.constants["w_codebook"].view(np.uint32)


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (sparse((64, 64), 0.2), "more than 256 distinct values"),
        (few((16, 18), 250), "250 distinct values; a codebook would save less than 10%"),
        (few((8, 8), 2), "is small (256 bytes)"),
    ],
)
def test_declines_with_its_reason(weight: NDArray[np.float32], reason: str) -> None:
    n, m = weight.shape
    text = f"net (float[N, {n}] x) => (float[N, {m}] y) {{\n[fc] y = MatMul (x, w)\n}}"
    done, result = rewrite(model_of(text, {"w": weight}), "codebook")
    assert reason in reasons(result)["fc"]
    assert ops(done.model) == ["MatMul"]


def test_a_weight_that_a_caller_gives_is_declined() -> None:
    text = "net (float[N, 64] x, float[64, 64] w) => (float[N, 64] y) {\n[fc] y = MatMul (x, w)\n}"
    done, result = rewrite(model_of(text), "codebook")
    assert reasons(result)["fc"] == "its weight is not an initializer"
    assert done.changed == 0
