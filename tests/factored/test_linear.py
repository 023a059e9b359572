"""Factored fully connected layers: equal to the dense one with the reconstructed weight, in every form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import NodeProto, helper

from onnxcomp.factored import linear
from onnxcomp.factored.counting import multiply_adds
from onnxcomp.factored.linear import LinearTarget
from onnxcomp.factored.prediction import linear_cost
from onnxcomp.fragment import Fragment
from onnxcomp.numerics.kronecker import Factors, KroneckerShape, reconstruct
from onnxcomp.runtime.session import run, session

SMALL = st.integers(1, 4)
SHAPES = st.builds(KroneckerShape, SMALL, SMALL, SMALL, SMALL, *[st.just(1)] * 4)


def target_of(weight: NDArray[np.float32], bias: NDArray[np.float32], rank: int, gemm: bool) -> LinearTarget:
    """y = x W^T + b, as a Gemm or a MatMul, with the Add of a bias that is not zero."""
    added = {"b": bias} if bias.any() else {}
    nodes: tuple[NodeProto, ...]
    if gemm:
        nodes = (helper.make_node("Gemm", ["x", "w", *added], ["y"], "fc"),)
    else:
        nodes = (helper.make_node("MatMul", ["x", "w"], ["p" if added else "y"], "fc"),)
        nodes = (*nodes, *[helper.make_node("Add", ["p", "b"], ["y"])] * len(added))
    constants = {"w": np.ascontiguousarray(weight.T), **added}
    return LinearTarget(Fragment(nodes, constants, ("x",), ("y",)), rank, bias)


def output(fragment: Fragment, x: NDArray[np.float32]) -> NDArray[np.float32]:
    model = fragment.model({"x": x.shape}, {}, 13)
    (result,) = run(session(model.SerializeToString(), 1), {"x": x})
    return np.asarray(result)


def terms_of(shape: KroneckerShape, rank: int, seed: int) -> Factors:
    rng = np.random.default_rng(seed)
    return Factors(*(rng.uniform(-1, 1, (rank, *part)) for part in (shape.a, shape.b)))


@settings(max_examples=80)
@given(
    shape=SHAPES,
    rank=st.integers(1, 3),
    lead=st.lists(st.integers(1, 3), max_size=3),
    gemm=st.booleans(),
    biased=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equal_to_the_dense_layer(
    shape: KroneckerShape, rank: int, lead: list[int], gemm: bool, biased: bool, seed: int
) -> None:
    gemm = gemm and len(lead) == 1
    terms = terms_of(shape, rank, seed)
    weight = reconstruct(terms)[:, :, 0, 0].astype(np.float32)
    bias = np.linspace(-1, 1, len(weight), dtype=np.float32) if biased else np.zeros(len(weight), np.float32)
    x = np.random.default_rng(seed).uniform(-1, 1, (*lead, weight.shape[1])).astype(np.float32)
    target = target_of(weight, bias, x.ndim, gemm)
    want, got = (output(fragment, x) for fragment in (target.fragment, linear.kronecker(target, terms)))
    assert got.shape == want.shape
    # Each of the products is off by a few half-ulps of the largest partial sum, itself at most their number.
    products = rank * weight.shape[1]
    np.testing.assert_allclose(got, want, rtol=0, atol=8 * np.finfo(np.float32).eps * (products + 1) ** 2)


@pytest.mark.parametrize(
    ("sizes", "ops", "first"),
    [
        ((6, 1, 1, 8), ["MatMul", "Gemm"], "w_b"),
        ((6, 1, 2, 4), ["Reshape", "MatMul", "Reshape", "Gemm"], "w_b"),
        ((3, 2, 2, 4), ["Reshape", "MatMul", "Reshape", "MatMul", "Reshape", "Add"], "w_b"),
        ((2, 3, 4, 2), ["Reshape", "MatMul", "Reshape", "MatMul", "Reshape", "Add"], "w_a"),
        ((1, 6, 4, 2), ["Reshape", "MatMul", "Reshape", "Gemm"], "w_a"),
        ((2, 3, 8, 1), ["MatMul", "Reshape", "MatMul", "Reshape", "Add"], "w_a"),
    ],
)
def test_the_cheaper_order_and_no_data_moves(sizes: tuple[int, ...], ops: list[str], first: str) -> None:
    shape = KroneckerShape(*sizes, 1, 1, 1, 1)
    target = target_of(np.ones((6, 8), np.float32), np.ones(6, np.float32), 2, True)
    after = linear.kronecker(target, terms_of(shape, 2, 0))
    assert [node.op_type for node in after.nodes] == ops
    assert first in next(node for node in after.nodes if node.op_type == "MatMul").input
    f1, f2, c1, c2 = sizes
    cheaper = min(8 * f2 + 6 * c1, 8 * f1 + 6 * c2)
    assert multiply_adds(after, {"x": (5, 8), "y": (5, 6)}, 13) == 5 * 2 * cheaper


@pytest.mark.parametrize("gemm", [True, False])
@pytest.mark.parametrize("biased", [True, False])
def test_the_dense_layer_with_other_numbers(gemm: bool, biased: bool) -> None:
    rng = np.random.default_rng(0)
    weight, x = (rng.standard_normal(shape).astype(np.float32) for shape in ((6, 8), (3, 8)))
    target = target_of(np.ones((6, 8), np.float32), np.full(6, float(biased), np.float32), 2, gemm)
    bias = np.arange(6, dtype=np.float32)
    after = linear.dense(LinearTarget(target.fragment, 2, bias), weight)
    np.testing.assert_allclose(output(after, x), x @ weight.T + bias, atol=1e-5)
    given = {name for node in target.fragment.nodes for name in node.output}
    assert given <= {name for node in after.nodes for name in node.output}


@given(shape=SHAPES, rows=st.integers(1, 64))
def test_costs_grow_with_the_rank(shape: KroneckerShape, rows: int) -> None:
    """A search for the largest rank that is cheap enough relies on it."""
    cost = linear_cost(shape.weight[:2], rows)
    costs = [cost(shape, rank) for rank in range(1, 20)]
    assert costs[0] > 0 and costs == sorted(costs)
