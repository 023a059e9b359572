"""Weights that are exact products, and networks of one Conv around them."""

import numpy as np
from numpy.typing import NDArray

from onnxcomp.model import Model
from tests.passes.graphs import model_of


def shared_basis(shape: tuple[int, ...], d: int) -> NDArray[np.float32]:
    """A weight whose kernels share `d` bases."""
    rng = np.random.default_rng(0)
    coefficients, bases = rng.standard_normal((*shape[:2], d)), rng.standard_normal((d, *shape[2:]))
    return np.tensordot(coefficients, bases, axes=1).astype(np.float32)


def product(a: tuple[int, ...], b: tuple[int, ...], rank: int = 1) -> NDArray[np.float32]:
    """A sum of `rank` Kronecker products."""
    rng = np.random.default_rng(0)
    terms = (np.kron(rng.standard_normal(a), rng.standard_normal(b)) for _ in range(rank))
    return np.sum(list(terms), axis=0).astype(np.float32)


def dense(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A weight of no structure."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def network(
    weight: NDArray[np.float32], attributes: str = "", behind: str = "y = Relu (c)", size: str = "9, 9"
) -> Model:
    """[conv] c = Conv (x, w, b), and what is `behind` it; `attributes` are Conv's, `size` the map's."""
    group = 2 if "group = 2" in attributes else 1
    text = f"""net (float[N, {weight.shape[1] * group}, {size}] x) => (float[N, {weight.shape[0]}, H, W] y) {{
        [conv] c = Conv <{attributes or "group = 1"}> (x, w, b)
        {behind}
    }}"""
    return model_of(text, {"w": weight, "b": np.linspace(-1, 1, len(weight), dtype=np.float32)})


def image(model: Model, batch: int = 2, side: int = 9) -> NDArray[np.float32]:
    """An input of `model` with maps of `side` pixels."""
    (x,) = model.graph.inputs
    return np.random.default_rng(1).standard_normal((batch, x.shape[1], side, side)).astype(np.float32)
