"""Pairs of layers for shrink's tests, and what is asked of every one that is shrunk."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.model import Model
from onnxcomp.pass_manager import PassResult
from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite

TOLERANCE = 1e-6  # relative L2: a few sums of at most a hundred float32 terms, in another order
Shapes = dict[str, tuple[int, ...]]
Weights = dict[str, NDArray[Any]]

BETWEEN = """net (float[N, 3, 8, 8] x) => (float[N, 5, H, W] y) {
    [first] a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    %s
    [last] y = Conv <pads = [%s]> (%s, v, c)
}"""


def random(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Positive, so that no ReLU hides a mistake and nothing cancels."""
    return np.random.default_rng(seed).uniform(0.1, 1, shape).astype(np.float32)


def pair(kernel: int = 1) -> Weights:
    """Weights of a 3x3 Conv to 8 channels and of one to 5."""
    return {"w": random(8, 3, 3, 3), "b": random(8), "v": random(5, 8, kernel, kernel), "c": random(5)}


def check(model: Model, align: int = 1, x: tuple[int, ...] = (2, 3, 8, 8)) -> tuple[Shapes, PassResult]:
    """Shrink, compare the outputs, shrink again to no effect; shapes of the weights by node, and the pass's result."""
    done, result = rewrite(model, f"shrink{{align={align}}}")
    assert not any("would be off" in reason for reason in reasons(result).values())
    assert_equal(model, done.model, TOLERANCE, x=random(*x, seed=7) - 0.5)
    again, second = rewrite(done.model, f"shrink{{align={align}}}")
    assert (second.changed, ops(again.model)) == (0, ops(done.model))
    return shapes(done.model), result


def shapes(model: Model) -> Shapes:
    """By named node the shape of its second input, where that is a constant."""
    constants = {n.name: model.constant(n.inputs[1]) for n in model.graph.nodes if n.name and len(n.inputs) > 1}
    return {name: value.shape for name, value in constants.items() if value is not None}


def between(nodes: str, tensor: str, weights: Weights, pads: str = "0, 0, 0, 0", opset: int = 17) -> Model:
    """Two Convs with `nodes` between them, the second reading `tensor`."""
    return model_of(BETWEEN % (nodes, pads, tensor), weights, opset)
