"""What lies before a layer is run once: the moments behind it are those of a network run from its start."""

import numpy as np
import pytest

from onnxcomp.calibration import Data, open_data
from onnxcomp.calibration.frontier import Frontier
from onnxcomp.calibration.moments import Moments, layer_moments
from onnxcomp.inputs import input_specs
from onnxcomp.model import Model
from tests.passes.graphs import model_of

RESIDUAL = """net (float[N, 4, 6, 6] x) => (float[N, 4, 6, 6] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w1)
    r = Relu (a)
    b = Conv <pads = [1, 1, 1, 1]> (r, w2)
    s = Conv (x, w3)
    c = Add (b, s)
    d = Conv (c, w4)
    y = Add (d, r)
}"""
SHAPES = {"w1": (4, 4, 3, 3), "w2": (4, 4, 3, 3), "w3": (4, 4, 1, 1), "w4": (4, 4, 1, 1)}
LAYERS = ("a", "b", "s", "d")
BATCH = 4


def network(seed: int) -> Model:
    rng = np.random.default_rng(seed)
    return model_of(RESIDUAL, {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()})


def data_for(model: Model, samples: int = 10) -> Data:
    rng = np.random.default_rng(0)
    return open_data(rng.standard_normal((samples, 4, 6, 6)).astype(np.float32), input_specs(model))


def moments(
    layer: str, model: Model, reference: Model, data: Data, frontiers: tuple[Frontier, Frontier] | None
) -> Moments:
    return layer_moments(
        model, [layer], data, reference=reference, batch=BATCH, frontiers=frontiers, shortcuts={"d": "r"}
    )[layer]


@pytest.mark.parametrize("max_bytes", [1 << 28, 4000, 0])
@pytest.mark.parametrize("order", [LAYERS, ("a", "d"), ("b", "s", "d"), ("s",)])
def test_the_moments_are_those_from_the_start(order: tuple[str, ...], max_bytes: int) -> None:
    model, reference = network(1), network(2)
    data = data_for(model)
    frontiers = Frontier(data, BATCH, max_bytes=max_bytes), Frontier(data, BATCH, max_bytes=max_bytes)
    for layer in order:
        for frontier, one in zip(frontiers, (model, reference), strict=True):
            frontier.advance(one, layer)
        got = moments(layer, model, reference, data, frontiers)
        want = moments(layer, model, reference, data, None)
        for name in ("moment", "mean", "cross", "output_mean", "output_std"):
            np.testing.assert_allclose(getattr(got, name), getattr(want, name), rtol=1e-5, atol=1e-6)


def test_what_is_kept_is_what_is_read_later() -> None:
    model = network(1)
    frontier = Frontier(data_for(model), BATCH)
    assert not frontier.passed and not frontier.given
    frontier.advance(model, "a")
    assert not frontier.given  # the network's input is given anyway
    frontier.advance(model, "s")
    assert frontier.passed == {"a", "r", "b"} and set(frontier.given) == {"b", "r"}
    frontier.advance(model, "b")  # behind it: it stays
    assert set(frontier.given) == {"b", "r"}
    frontier.advance(model, "d")
    assert set(frontier.given) == {"c", "r"}


def test_a_frontier_too_large_to_keep_stays_where_it_was() -> None:
    model = network(1)
    one_tensor = 4 * 10 * 4 * 6 * 6
    frontier = Frontier(data_for(model), BATCH, max_bytes=one_tensor)
    assert frontier.advance(model, "b")
    assert set(frontier.given) == {"r"}
    assert not frontier.advance(model, "d") and frontier.advance(model, "b")
    assert set(frontier.given) == {"r"} and frontier.passed == {"a", "r"}
