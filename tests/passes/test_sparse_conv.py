"""sparse-conv: which epilogues it takes in, what it declines, and that the outputs are equal."""

import numpy as np
import pytest

from onnxcomp.context import Context
from onnxcomp.pass_api import Candidate, Site
from onnxcomp_passes.sparse_conv import SparseConv
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


def blocks(height: int, shape: tuple[int, ...]) -> np.ndarray:
    """A weight of whole blocks of `height` output channels."""
    kept = np.random.default_rng(4).random((shape[0] // height, *shape[1:])) < 0.3
    return sparse(shape, 0) * kept.repeat(height, axis=0).astype(np.float32)


def windows(kept: int, shape: tuple[int, ...]) -> np.ndarray:
    """A weight that keeps `kept` of every 16 input channels."""
    order = np.random.default_rng(4).random((shape[0], shape[1] // 16, 16, *shape[2:])).argsort(axis=2)
    return sparse(shape, 0) * (order.argsort(axis=2) < kept).reshape(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("weight", "group", "op", "structure"),
    [
        (blocks(16, (32, 16, 3, 3)), 1, "BlockSparseConv", "16x1"),
        (blocks(4, (32, 16, 3, 3)), 1, "BlockSparseConv", "4x1"),
        (windows(3, (8, 32, 3, 3)), 1, "SparseConv", "3:16"),
        (windows(3, (8, 16, 3, 3)), 2, "SparseConv", "3:16"),
        (blocks(16, (48, 16, 1, 1)), 2, "SparseConv", "unstructured"),  # blocks would straddle the groups
        (sparse((16, 16, 3, 3)), 1, "SparseConv", "unstructured"),
    ],
)
def test_stores_the_structure_it_finds(weight: np.ndarray, group: int, op: str, structure: str) -> None:
    channels = weight.shape[1] * group
    text = f"""net (float[N, {channels}, 9, 9] x) => (float[N, {weight.shape[0]}, H, W] y) {{
        [conv] y = Conv <group = {group}> (x, w)
    }}"""
    model = model_of(text, {"w": weight})
    done, result = rewrite(model, "sparse-conv{when=always}")
    (node,) = done.model.graph.nodes
    assert (node.op, node.attrs["structure"]) == (op, structure)
    assert result.applied[0].candidate.options["structure"] == structure
    assert_equal(model, done.model, TOLERANCE, x=x(2, channels, 9, 9))


def test_proposes_a_structure_beside_the_form_without() -> None:
    text = "net (float[1, 16, 28, 28] x) => (float[1, 32, H, W] y) {\n[conv] y = Conv <pads = [1, 1, 1, 1]> (x, w)\n}"
    model = model_of(text, {"w": blocks(16, (32, 16, 3, 3))})
    one = SparseConv()
    (site,) = (site for site in one.match(model) if isinstance(site, Site))
    proposed = [p for p in one.propose(site, Context(model, {"x": (1, 16, 28, 28)})) if isinstance(p, Candidate)]
    assert [p.options["structure"] for p in proposed] == ["16x1", "unstructured"]
    assert all(p.timing for p in proposed)
    assert proposed[0].size_bytes[1] < proposed[1].size_bytes[1]


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


@pytest.mark.parametrize("when", ["faster", "always"])
def test_declines_an_input_whose_shape_nobody_knows(when: str) -> None:
    text = """net (float[N, 8, 12, 12] x, int64[4] shape) => (float[A, B, C, D] y) {
        r = Reshape (x, shape)
        [conv] y = Conv (r, w)
    }"""
    done, result = rewrite(model_of(text, {"w": sparse((16, 8, 3, 3))}), f"sparse-conv{{when={when}}}")
    assert "the shape of 'r' is not known" in reasons(result)["conv"]
    assert ops(done.model) == ["Reshape", "Conv"]
