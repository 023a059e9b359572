"""prediction: how many products the cost model counts for each operator of ours."""

import numpy as np
import pytest

from onnxcomp.context import Context
from onnxcomp.fragment import Fragment
from onnxcomp.pass_manager import PassManager
from onnxcomp.prediction import predicted_ms
from tests.passes.factors import dense, network
from tests.passes.graphs import sparse
from tests.profiles import made_up_profile
from tests.runtime.unified_models import random_weight


def predicted(weight: np.ndarray, passes: str) -> tuple[float, float] | None:
    model = network(weight, "pads = [1, 1, 1, 1]")
    context = Context(model, {"x": (1, weight.shape[1], 9, 9)})
    before = Fragment.of(model, model.graph.nodes)
    after = PassManager.parse(passes).run(model).model
    return predicted_ms(made_up_profile(), before, Fragment.of(after, after.graph.nodes), context.shapes)


def sparse_ms(weight: np.ndarray, passes: str) -> float:
    found = predicted(weight, passes)
    assert found is not None
    return found[1]


def test_one_product_serves_four_weights_of_one_magnitude() -> None:
    quarter = sparse((64, 64, 3, 3), 0.75)
    expected = sparse_ms(quarter, "sparse-conv{when=always}")
    assert sparse_ms(random_weight((64, 64, 3, 3), (4, 4)), "unify{when=always}") == pytest.approx(expected, rel=0.01)


def test_weights_of_several_levels_count_one_by_one() -> None:
    several = random_weight((64, 64, 3, 3), (4, 4), (1.0, 0.5, 0.0))
    one = random_weight((64, 64, 3, 3), (4, 4))
    assert sparse_ms(several, "unify{when=always}") > 2 * sparse_ms(one, "unify{when=always}")


def test_nothing_is_said_of_what_is_not_ours() -> None:
    assert predicted(dense((64, 64, 3, 3)), "penni{d=2,when=always,form=basis}") is None
