"""factored_cnn: its weights are the products that they are said to be, and the passes recover them."""

import numpy as np
import pytest
from onnx import numpy_helper

from factored_cnn import FACTORED_CNN
from onnxcomp.model import Model
from onnxcomp.numerics.find_exact import exact_kronecker, exact_shared_basis
from onnxcomp.pass_manager import PassManager
from onnxcomp.runtime.session import run, session
from zoo.factors import Kronecker, SharedBasis

PIPELINE = "kronecker{when=always},fold-batchnorm,penni{when=always}"
# Weights of the factors by layer: the first Conv; d (9 C_in + C_out C_in) or d (C_out C_in + 9 C_out) for shared bases,
# R (F1 C1 ka + F2 C2 kb) for products; the fully connected layer.
FACTORS = (
    3 * 64 * 9,
    2 * (9 * 64 + 128 * 64),
    4 * 4 + 32 * 32 * 9,
    32 * (256 + 128 * 9),
    3 * (256 * 256 + 9 * 256),
    4 * 4 + 64 * 64 * 9,
    256 * 10,
)


def stored(model: Model) -> int:
    """Numbers in the weights of Conv, MatMul and Gemm."""
    graph = model.to_proto().graph
    sizes = {tensor.name: numpy_helper.to_array(tensor).size for tensor in graph.initializer}
    places = {"Conv": 1, "Gemm": 1, "MatMul": 0}
    return sum(sizes[node.input[places[node.op_type]]] for node in graph.node if node.op_type in places)


def test_shared_bases_are_exact() -> None:
    weight = SharedBasis(3).weight((32, 32, 3, 3), np.random.default_rng(3))
    assert exact_shared_basis(weight) == 3
    assert np.isclose(weight.std(), (2 / (32 * 9)) ** 0.5)


@pytest.mark.parametrize("factors", [Kronecker((4, 2, 1, 3)), Kronecker((32, 1, 1, 1), rank=4)])
def test_products_are_exact(factors: Kronecker) -> None:
    weight = factors.weight((32, 32, 3, 3), np.random.default_rng(3))
    assert (factors.a, factors.rank) in [(shape.a, rank) for shape, rank in exact_kronecker(weight)]


def test_passes_recover_what_the_network_is_made_of() -> None:
    proto, cost = FACTORED_CNN.build()
    done = PassManager.parse(PIPELINE).run(Model.from_proto(proto)).model
    assert stored(Model.from_proto(proto)) == cost.weights
    assert stored(done) == sum(FACTORS)
    x = {"input": np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)}
    want, got = (run(session(one.SerializeToString(), 1), x)[0] for one in (proto, done.to_proto()))
    assert np.linalg.norm(got - want) < 1e-5 * np.linalg.norm(want)
