"""drop-identity: what goes, what stays and why, and that nothing else changes."""

import numpy as np
import pytest

from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite

X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "node",
    [
        "Identity (a)",
        "Dropout (a)",
        "Cast <to = 1> (a)",
        "Transpose <perm = [0, 1]> (a)",
        "Concat <axis = 0> (a)",
        "Sum (a)",
        "Pad (a, zeros)",
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_removes_what_changes_nothing(node: str, last: bool) -> None:
    body = f"[it] y = {node}" if last else f"[it] b = {node}\n y = Exp (b)"
    text = f"net (float[2, 3] x) => (float[2, 3] y) {{\n a = Relu (x)\n {body}\n}}"
    model = model_of(text, {"zeros": np.zeros(4, np.int64)} if "zeros" in node else None)
    model.infer_shapes()
    done, result = rewrite(model, "drop-identity")
    assert result.changed == 1
    assert ops(done.model) == (["Relu"] if last else ["Relu", "Exp"])
    assert done.model.graph.outputs[0].name == "y"
    assert_equal(model, done.model, 0, x=X)


@pytest.mark.parametrize(
    "node", ["Dropout (a, ratio, training)", "Transpose <perm = [1, 0]> (a)", "Cast <to = 10> (a)", "Pad (a, ones)"]
)
def test_leaves_what_changes_something(node: str) -> None:
    kind = "float16" if "Cast" in node else "float"
    text = f"net (float[3, 3] x) => ({kind}[H, W] y) {{\n a = Relu (x)\n y = {node}\n}}"
    weights = {"ratio": np.float32(0.5), "training": np.array(True), "ones": np.ones(4, np.int64)}
    model = model_of(text, {name: np.asarray(v) for name, v in weights.items() if name in node})
    done, result = rewrite(model, "drop-identity")
    assert (result.changed, len(ops(done.model))) == (0, 2)


def test_declines_between_input_and_output() -> None:
    done, result = rewrite(
        model_of("net (float[2, 3] x) => (float[2, 3] y) {\n [it] y = Identity (x)\n}"), "drop-identity"
    )
    assert "connects 'x' to the graph output 'y'" in reasons(result)["it"]
    assert ops(done.model) == ["Identity"]


def test_a_chain_from_input_to_output_keeps_one() -> None:
    text = "net (float[2, 3] x) => (float[2, 3] y) {\n [a] t = Identity (x)\n [b] y = Identity (t)\n}"
    model = model_of(text)
    done, result = rewrite(model, "drop-identity")
    assert (ops(done.model), result.changed) == (["Identity"], 1)
    assert_equal(model, done.model, 0, x=X)


def test_two_outputs_of_one_tensor_stay_two() -> None:
    text = (
        "net (float[2, 3] x) => (float[2, 3] y, float[2, 3] z) {\n"
        " a = Relu (x)\n [first] y = Identity (a)\n [second] z = Identity (a)\n}"
    )
    model = model_of(text)
    done, result = rewrite(model, "drop-identity")
    assert ops(done.model) == ["Relu", "Identity"]
    assert list(reasons(result)) == ["second"]
    assert_equal(model, done.model, 0, x=X)


def test_declines_what_a_body_reads() -> None:
    text = """net (float[2, 3] x, bool c) => (float[2, 3] y) {
        a = Relu (x)
        [it] b = Identity (a)
        y = If (c) <
            then_branch = then () => (float[2, 3] t) { t = Exp (b) },
            else_branch = other () => (float[2, 3] e) { e = Neg (b) }
        >
    }"""
    _, result = rewrite(model_of(text), "drop-identity")
    assert "read inside an If" in reasons(result)["it"]
