"""shrink: which channels stay, and the reason that is told."""

import numpy as np
import pytest

from tests.passes.graphs import model_of, reasons, rewrite
from tests.passes.shrinking import BETWEEN, between, check, pair


@pytest.mark.parametrize(
    ("output", "nodes", "reason"),
    [
        ("float[N, 8, H, W] t", "t = Relu (a)", "'t' is an input or output of the model"),
        ("float[N, 8, H, W] z", "t = Relu (a)\n[it] z = Softmax <axis = 1> (a)", "'it' (Softmax) may use its channels"),
        ("float[N, 8, H, W] z", "t = Relu (a)\n[it] z = Mul (a, m)", "'it' (Mul) its inputs differ"),
    ],
)
def test_what_others_may_see_stays(output: str, nodes: str, reason: str) -> None:
    text = (BETWEEN % (nodes, "0, 0, 0, 0", "t")).replace("y) {", f"y, {output}) {{")
    weights = pair()
    if "(a, m)" in nodes:
        text = text.replace("x) =>", "x, float[N, 1, 8, 8] m) =>")
    weights["v"][:, 1] = 0
    _, result = rewrite(model_of(text, weights), "shrink")
    assert result.changed == 0
    assert f"input channel 1 has no weights but stays: {reason}" in reasons(result)["last"]


def test_what_a_body_reads_stays() -> None:
    text = """net (float[N, 3, 8, 8] x, bool q) => (float[N, 5, 8, 8] y, float[N, 8, 8, 8] z) {
        [first] a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
        [last] y = Conv (a, v, c)
        z = If (q) <
            then_branch = then () => (float[N, 8, 8, 8] t) { t = Exp (a) },
            else_branch = other () => (float[N, 8, 8, 8] e) { e = Neg (a) }
        >
    }"""
    weights = pair()
    weights["v"][:, 1] = 0
    _, result = rewrite(model_of(text, weights), "shrink")
    assert result.changed == 0
    assert "stays: 'a' is read inside an If" in reasons(result)["last"]


def test_a_weight_that_two_layers_share_stays() -> None:
    text = """net (float[N, 3, 8, 8] x) => (float[N, 5, H, W] y, float[N, 5, H, W] z) {
        [first] a = Conv (x, w, b)
        [last] y = Conv (a, v, c)
        [other] z = Conv (a, v)
    }"""
    weights = pair()
    weights["v"][:, 1] = 0
    _, result = rewrite(model_of(text, weights), "shrink")
    assert (result.changed, reasons(result)["last"]) == (0, "'v' is shared with other nodes")


@pytest.mark.parametrize("given", ["v", "c"])
def test_a_weight_that_a_caller_gives_stays(given: str) -> None:
    weights = pair()
    weights["v"][:, 1] = 0
    value = f"float[{', '.join(map(str, weights[given].shape))}] {given}"
    text = (BETWEEN % ("t = Relu (a)", "0, 0, 0, 0", "t")).replace("x) =>", f"x, {value}) =>")
    del weights[given]
    _, result = rewrite(model_of(text, weights), "shrink")
    assert result.changed == 0
    assert "is a graph input: a caller may replace it" in reasons(result)["last"]


def test_a_computed_weight_stays() -> None:
    weights = pair()
    weights["v"][:, 1] = 0
    weights["two"] = np.float32(2)
    text = (BETWEEN % ("t = Relu (a)\n u = Mul (v, two)", "0, 0, 0, 0", "t")).replace("(t, v, c)", "(t, u, c)")
    _, result = rewrite(model_of(text, weights), "shrink")
    assert (result.changed, "constant expression" in reasons(result)["last"]) == (0, True)


def test_a_weight_with_nan_stays() -> None:
    weights = pair()
    weights["v"][:, 1] = 0
    weights["w"][1, 0, 0, 0] = np.nan
    _, result = rewrite(between("t = Relu (a)", "t", weights), "shrink")
    assert (result.changed, reasons(result)["first"]) == (0, "'w' holds NaN or Inf")


def test_unknown_shapes_stay() -> None:
    text = """net (float[N, 3, 8, 8] x, int64[2] s) => (float[N, M] y) {
        [first] a = Conv (x, w, b)
        f = Reshape (a, s)
        [last] y = MatMul (f, v)
    }"""
    weights = pair() | {"v": np.zeros((288, 5), np.float32)}
    del weights["c"]
    _, result = rewrite(model_of(text, weights), "shrink")
    assert result.changed == 0


def test_what_goes_nowhere_is_left_alone() -> None:
    weights = pair()
    found, result = check(between("t = Relu (a)\n[lost] z = Conv (a, v)\n d = Relu (z)", "t", weights))
    assert (result.changed, found["lost"]) == (0, (5, 8, 1, 1))


def test_inner_tensors_and_nodes_keep_their_names() -> None:
    weights = pair()
    weights["v"][:, 1] = 0
    model = between("[it] t = Relu (a)", "t", weights)
    done, _ = rewrite(model, "shrink")
    names = [[(n.name, n.inputs[0].name, n.outputs[0].name) for n in m.graph.nodes] for m in (model, done.model)]
    assert names[0] == names[1]
