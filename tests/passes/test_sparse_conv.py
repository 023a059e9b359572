"""sparse-conv: which epilogues it takes in, what it declines, and that the outputs are equal."""

import numpy as np
import pytest

from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite, sparse

TOLERANCE = 1e-6  # float32 sums of some hundred products in another order


def x(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal(shape or (2, 8, 12, 12)).astype(np.float32)


def net(body: str, inputs: str = "float[N, 8, 12, 12] x", outputs: str = "float[N, 16, H, W] y") -> str:
    return f"net ({inputs}) => ({outputs}) {{\n[conv] c = Conv <pads = [1, 1, 1, 1]> (x, w, b)\n{body}\n}}"


WEIGHTS = {"w": sparse((16, 8, 3, 3)), "b": np.arange(16, dtype=np.float32)}
BOUNDS = {"zero": np.float32(0), "six": np.float32(6)}


@pytest.mark.parametrize(
    ("body", "op"),
    [
        ("y = Identity (c)", "SparseConv"),
        ("y = Relu (c)", "SparseConvRelu"),
        ("y = Clip (c, zero, six)", "SparseConvClip"),
        ("y = Clip (c, zero)", "SparseConvClip"),
        ("y = LeakyRelu <alpha = 0.2> (c)", "SparseConvLeakyRelu"),
        ("y = Sigmoid (c)", "SparseConvSigmoid"),
        ("y = HardSwish (c)", "SparseConvHardSwish"),
        ("g = HardSigmoid <alpha = 0.16666667, beta = 0.5> (c)\ny = Mul (c, g)", "SparseConvHardSwish"),
        ("g = Sigmoid (c)\ny = Mul (c, g)", "SparseConvSilu"),
        ("g = Sigmoid (c)\ny = Mul (g, c)", "SparseConvSilu"),
    ],
)
def test_takes_the_activation_in(body: str, op: str) -> None:
    bounds = {k: np.asarray(v) for k, v in BOUNDS.items() if k in body}
    model = model_of(net(body), {**WEIGHTS, **bounds})
    done, result = rewrite(model, "drop-identity,sparse-conv{when=always}")
    assert ops(done.model) == [op]
    assert result.applied[0].rewrite_error is not None
    assert_equal(model, done.model, TOLERANCE, x=x())


def test_takes_a_residual_of_the_same_shape_in() -> None:
    body = "[other] d = Conv <pads = [1, 1, 1, 1]> (x, v)\ns = Add (c, d)\ny = Relu (s)"
    model = model_of(net(body), {**WEIGHTS, "v": sparse((16, 8, 3, 3), 0)})
    done, result = rewrite(model, "sparse-conv{when=always}")
    assert ops(done.model) == ["Conv", "SparseConvAddRelu"]
    assert "0.0% zeros" in reasons(result)["other"]
    assert_equal(model, done.model, TOLERANCE, x=x())


def test_an_add_belongs_to_one_convolution() -> None:
    body = "[other] d = Conv <pads = [1, 1, 1, 1]> (x, v)\ny = Add (c, d)"
    model = model_of(net(body), {**WEIGHTS, "v": sparse((16, 8, 3, 3), seed=2)})
    done, _ = rewrite(model, "sparse-conv{when=always}")
    assert sorted(ops(done.model)) == ["SparseConv", "SparseConvAdd"]
    assert_equal(model, done.model, TOLERANCE, x=x())


def test_leaves_a_broadcast_add_out() -> None:
    inputs = "float[N, 8, 12, 12] x, float[N, 16, 1, 1] z"
    model = model_of(net("y = Add (c, z)", inputs), WEIGHTS)
    done, _ = rewrite(model, "sparse-conv{when=always}")
    assert ops(done.model) == ["SparseConv", "Add"]
    assert_equal(model, done.model, TOLERANCE, x=x(), z=x(2, 16, 1, 1))


def test_leaves_an_activation_out_whose_input_others_read() -> None:
    model = model_of(net("y = Relu (c)", outputs="float[N, 16, H, W] y, float[N, 16, H, W] c"), WEIGHTS)
    done, _ = rewrite(model, "sparse-conv{when=always}")
    assert ops(done.model) == ["SparseConv", "Relu"]
    assert_equal(model, done.model, TOLERANCE, x=x())


def test_an_addend_that_depends_on_the_result_makes_no_cycle() -> None:
    model = model_of(net("r = Exp (c)\ny = Add (c, r)"), {**WEIGHTS, "w": WEIGHTS["w"] * np.float32(0.1)})
    done, _ = rewrite(model, "sparse-conv{when=always}")
    assert ops(done.model) == ["SparseConv", "Exp", "Add"]
    assert_equal(model, done.model, TOLERANCE, x=x() * np.float32(0.1))


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (sparse((16, 8, 3, 3), 0.1), "zeros; below"),
        (sparse((16, 8, 3, 3)).astype(np.float64), "float64"),
        (np.where(sparse((16, 8, 3, 3)) != 0, np.float32(np.nan), np.float32(0)), "NaN or Inf"),
    ],
)
def test_declines_a_weight_with_its_reason(weight: np.ndarray, reason: str) -> None:
    kind = "double" if weight.dtype == np.float64 else "float"
    text = f"net ({kind}[N, 8, 12, 12] x) => ({kind}[N, 16, H, W] y) {{\n[conv] y = Conv (x, w)\n}}"
    done, result = rewrite(model_of(text, {"w": weight}), "sparse-conv{when=always}")
    assert reason in reasons(result)["conv"]
    assert ops(done.model) == ["Conv"]


def test_declines_a_weight_that_a_caller_gives() -> None:
    text = "net (float[N, 8, 9, 9] x, float[4, 8, 3, 3] w) => (float[N, 4, H, W] y) {\n[conv] y = Conv (x, w)\n}"
    _, result = rewrite(model_of(text), "sparse-conv{when=always}")
    assert "graph input" in reasons(result)["conv"]


def test_declines_three_dimensions() -> None:
    text = "net (float[N, 4, 5, 5, 5] x) => (float[N, 4, D, H, W] y) {\n[conv] y = Conv (x, w)\n}"
    _, result = rewrite(model_of(text, {"w": sparse((4, 4, 2, 2, 2))}), "sparse-conv{when=always}")
    assert "3-D" in reasons(result)["conv"]


def test_raises_an_old_opset_and_ir_and_nothing_else() -> None:
    text = """net (float[N, 8, 12, 12] x) => (float[N, 16, H, W] y) {
        [conv] c = Conv (x, w)
        y = Clip <min = 0.0, max = 6.0> (c)
    }"""
    model = model_of(text, {"w": sparse((16, 8, 3, 3))}, opset=10, ir=4)
    done, _ = rewrite(model, "sparse-conv{when=always}")
    assert ops(done.model) == ["SparseConvClip"]
    assert (done.model.opset, done.model.ir_version) == (13, 8)
    assert_equal(model, done.model, TOLERANCE, x=x())


def test_an_old_model_without_zeros_keeps_its_opset() -> None:
    text = "net (float[N, 8, 12, 12] x) => (float[N, 16, H, W] y) {\n[conv] y = Conv (x, w)\n}"
    done, _ = rewrite(model_of(text, {"w": sparse((16, 8, 3, 3), 0)}, opset=10, ir=4), "sparse-conv{when=always}")
    assert (done.model.opset, done.model.ir_version) == (10, 4)
