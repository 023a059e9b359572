"""sparse-gemm: which layers it reads, what it takes in, what it declines, and that the outputs are equal."""

import numpy as np
import pytest

from onnxcomp.analysis import layers_of
from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite, sparse

TOLERANCE = 1e-6  # float32 sums of some hundred products in another order
ALWAYS = "sparse-gemm{when=always}"


def x(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape or (3, 64)).astype(np.float32)


def net(body: str, inputs: str = "float[N, 64] x", outputs: str = "float[N, 24] y") -> str:
    return f"net ({inputs}) => ({outputs}) {{\n{body}\n}}"


W = sparse((24, 64))
B = np.arange(24, dtype=np.float32)


@pytest.mark.parametrize(
    ("gemm", "weights"),
    [
        ("Gemm <transB = 1> (x, w, b)", {"w": W, "b": B}),
        ("Gemm (x, w, b)", {"w": W.T.copy(), "b": B}),
        ("Gemm <transB = 1> (x, w)", {"w": W}),
        ("Gemm <transB = 1, alpha = 0.5, beta = 2.0> (x, w, b)", {"w": W, "b": B}),
        ("Gemm <alpha = 3.0> (x, w)", {"w": W.T.copy()}),
        ("Gemm <transB = 1> (x, w, b)", {"w": W, "b": B[None]}),
        ("Gemm <transB = 1> (x, w, b)", {"w": W, "b": np.array(0.7, np.float32)}),
        ("Gemm <transB = 1, beta = 0.5> (x, w, b)", {"w": W, "b": np.array([[0.7]], np.float32)}),
        ("MatMul (x, w)", {"w": W.T.copy()}),
    ],
)
def test_reads_every_form_of_a_layer(gemm: str, weights: dict[str, np.ndarray]) -> None:
    model = model_of(net(f"[fc] y = {gemm}"), weights)
    done, result = rewrite(model, ALWAYS)
    assert ops(done.model) == ["SparseGemm"]
    assert result.applied[0].rewrite_error is not None
    assert_equal(model, done.model, TOLERANCE, x=x())


@pytest.mark.parametrize(
    ("body", "op"),
    [
        ("y = Relu (c)", "SparseGemmRelu"),
        ("y = Clip (c, zero, six)", "SparseGemmClip"),
        ("y = LeakyRelu <alpha = 0.2> (c)", "SparseGemmLeakyRelu"),
        ("y = Sigmoid (c)", "SparseGemmSigmoid"),
        ("y = HardSwish (c)", "SparseGemmHardSwish"),
        ("g = Sigmoid (c)\ny = Mul (c, g)", "SparseGemmSilu"),
    ],
)
@pytest.mark.parametrize("layer", ["c = Gemm <transB = 1> (x, w, b)", "p = MatMul (x, w)\nc = Add (p, b)"])
def test_takes_the_activation_in(layer: str, body: str, op: str) -> None:
    bounds = {k: np.float32(v) for k, v in (("zero", 0), ("six", 6)) if k in body}
    weights = {"w": W if "Gemm" in layer else W.T.copy(), "b": B, **{k: np.asarray(v) for k, v in bounds.items()}}
    model = model_of(net(f"{layer}\n{body}"), weights)
    done, _ = rewrite(model, ALWAYS)
    assert ops(done.model) == [op]
    assert_equal(model, done.model, TOLERANCE, x=x())


@pytest.mark.parametrize("swapped", [False, True])
def test_a_product_of_any_rank_keeps_its_leading_dimensions(swapped: bool) -> None:
    add = "Add (b, p)" if swapped else "Add (p, b)"
    text = net(f"p = MatMul (x, w)\ns = {add}\ny = Relu (s)", "float[N, 5, 64] x", "float[N, 5, 24] y")
    model = model_of(text, {"w": W.T.copy(), "b": B})
    done, _ = rewrite(model, ALWAYS)
    assert ops(done.model) == ["SparseMatMulRelu"]
    assert_equal(model, done.model, TOLERANCE, x=x(2, 5, 64))


def test_a_vector_times_a_matrix() -> None:
    model = model_of(net("y = MatMul (x, w)", "float[64] x", "float[24] y"), {"w": W.T.copy()})
    done, _ = rewrite(model, ALWAYS)
    assert ops(done.model) == ["SparseMatMul"]
    assert_equal(model, done.model, TOLERANCE, x=x(64))


@pytest.mark.parametrize(
    ("body", "outputs", "weights"),
    [
        ("y = Add (p, c)", "float[N, 24] y", {"c": np.ones((3, 1), np.float32)}),  # another number for each row
        ("y = Add (p, c)", "float[1, N, 24] y", {"c": np.ones((1, 1, 24), np.float32)}),  # makes the rank 3
        ("y = Add (p, p)", "float[N, 24] y", {}),
        ("y = Add (p, x24)", "float[N, 24] y", {}),
        ("y = Identity (p)", "float[N, 24] y, float[N, 24] p", {}),
    ],
)
def test_leaves_other_additions_out(body: str, outputs: str, weights: dict[str, np.ndarray]) -> None:
    given = "float[N, 64] x, float[N, 24] x24" if "x24" in body else "float[N, 64] x"
    model = model_of(net(f"p = MatMul (x, w)\n{body}", given, outputs), {"w": W.T.copy(), **weights})
    done, _ = rewrite(model, ALWAYS)
    assert ops(done.model) == ["SparseGemm", body.split()[2]]
    feeds = {"x": x(), "x24": x(3, 24)} if "x24" in body else {"x": x()}
    assert_equal(model, done.model, TOLERANCE, **feeds)


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (sparse((24, 64), 0.1), "zeros; below"),
        (W.astype(np.float64), "float64"),
        (np.where(W != 0, np.float32(np.nan), np.float32(0)), "NaN or Inf"),
    ],
)
def test_declines_a_weight_with_its_reason(weight: np.ndarray, reason: str) -> None:
    kind = "double" if weight.dtype == np.float64 else "float"
    text = net("[fc] y = Gemm <transB = 1> (x, w)", f"{kind}[N, 64] x", f"{kind}[N, 24] y")
    done, result = rewrite(model_of(text, {"w": weight}), ALWAYS)
    assert reason in reasons(result)["fc"]
    assert ops(done.model) == ["Gemm"]


@pytest.mark.parametrize(
    ("text", "weights", "reason"),
    [
        (
            net("[fc] y = Gemm <transA = 1> (x, w)", "float[64, N] x"),
            {"w": W.T.copy()},
            "its first input is transposed",
        ),
        (net("[fc] y = Gemm (x, w, b)", "float[3, 64] x"), {"w": W.T.copy(), "b": B[:3, None]}, "shape [3, 1]"),
        (net("[fc] y = Gemm (x, w, z)", "float[N, 64] x, float[24] z"), {"w": W.T.copy()}, "'z' is a graph input"),
        (net("[fc] y = MatMul (x, z)", "float[N, 64] x, float[64, 24] z"), {}, "'z' is a graph input"),
        (net("[fc] y = MatMul (w, x)", "float[64, N] x", "float[24, N] y"), {"w": W}, "the weight is its first input"),
        (
            net("[fc] y = MatMul (x, w)", "float[2, N, 64] x", "float[2, N, 24] y"),
            {"w": np.stack([W.T, W.T])},
            "shape [2, 64, 24]",
        ),
    ],
)
def test_declines_a_layer_with_its_reason(text: str, weights: dict[str, np.ndarray], reason: str) -> None:
    done, result = rewrite(model_of(text, weights), ALWAYS)
    assert reason in reasons(result)["fc"]
    assert len(ops(done.model)) == 1
    assert not ops(done.model)[0].startswith("Sparse")


def test_the_rewritten_layer_is_listed_with_its_cost() -> None:
    model = model_of(net("[fc] y = Gemm <transB = 1> (x, w, b)"), {"w": W, "b": B})
    done, result = rewrite(model, ALWAYS)
    nonzero = int(np.count_nonzero(W))
    (layer,) = layers_of(done.model, {"y": (3, 24)})
    assert (layer.op, layer.shape, layer.nonzero, layer.macs) == ("SparseGemm", (24, 64), nonzero, 3 * nonzero)
    assert result.applied[0].candidate.macs == (24 * 64, nonzero)
