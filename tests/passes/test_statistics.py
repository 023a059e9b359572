"""The option `statistics` of the passes that factor: outputs vary on the data as they did, which factors alone lose."""

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxcomp.model import Model
from onnxcomp.pass_manager import PassManager
from onnxcomp.runtime.session import run, session
from tests.passes.factors import dense, image, network

ROWS_OF_A = "kronecker{rank=1,shape=8x1x1x1"
ROWS_OF_B = "kronecker{rank=1,max_macs=2,shape=1x4x1x1"
ROWS_OF_BOTH = "kronecker{rank=1,shape=4x1x1x1"
BOTH_IN_GROUPS = "kronecker{rank=1,shape=2x1x1x1"


@pytest.mark.parametrize("solver", ["svd", "als"])
@pytest.mark.parametrize("method", ["penni{d=3", ROWS_OF_A, ROWS_OF_B])
def test_outputs_vary_as_they_did(method: str, solver: str) -> None:
    model = network(dense((8, 8, 3, 3)), behind="y = Identity (c)")
    assert off(model, f"{method},solver={solver}").max() > 0.1
    assert off(model, f"{method},solver={solver},statistics=true").max() < 1e-4


def test_in_groups() -> None:
    model = network(dense((8, 4, 3, 3)), "group = 2", "y = Identity (c)")
    assert off(model, "penni{d=3").max() > 0.1
    assert off(model, "penni{d=3,statistics=true").max() < 1e-4


@pytest.mark.parametrize(("method", "group"), [(ROWS_OF_BOTH, 1), (BOTH_IN_GROUPS, 2)])
def test_rows_of_both_factors_come_as_near_as_their_product_can(method: str, group: int) -> None:
    model = network(dense((8, 8 // group, 3, 3)), f"group = {group}", "y = Identity (c)")
    before, after = off(model, method), off(model, f"{method},statistics=true")
    assert np.square(after).sum() < 0.5 * np.square(before).sum()


def off(model: Model, method: str) -> NDArray[np.float64]:
    """By how much (in the logarithm) the outputs' standard deviations are other ones, after that."""
    images = image(model, batch=40)
    done = PassManager.parse(f"{method},when=always}}").run(model, data=images)
    assert done.changed == 1
    return np.abs(np.log(_deviations(done.model, images) / _deviations(model, images)))


def _deviations(model: Model, images: NDArray[np.float32]) -> NDArray[np.float64]:
    (y,) = run(session(bytes(model.to_proto().SerializeToString()), 1), {"x": images})
    return y.astype(np.float64).std(axis=(0, 2, 3))
