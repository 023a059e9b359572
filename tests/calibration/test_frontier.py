"""What lies before a layer is run once: the moments behind it are those of a network run from its start."""

from collections.abc import Iterator

import numpy as np
import pytest

from onnxcomp.calibration import Data, open_data
from onnxcomp.calibration.data import Batches
from onnxcomp.calibration.first import First
from onnxcomp.calibration.frontier import Frontier
from onnxcomp.calibration.moments import Moments, layer_moments
from onnxcomp.calibration.taps import Taps
from onnxcomp.inputs import input_specs
from onnxcomp.model import Model
from onnxcomp.runtime.session import Feed
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
    layer: str, model: Model, reference: Model, data: Batches, frontiers: tuple[Frontier, Frontier] | None
) -> Moments:
    return layer_moments(
        model, [layer], data, reference=reference, batch=BATCH, frontiers=frontiers, shortcuts={"d": "r"}
    )[layer]


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("max_bytes", [1 << 28, 4000, 0])
@pytest.mark.parametrize("order", [LAYERS, ("a", "d"), ("b", "s", "d"), ("s",)])
def test_the_moments_are_those_from_the_start(order: tuple[str, ...], max_bytes: int, behind: bool) -> None:
    model, reference = network(1), network(2)
    data = data_for(model)
    frontiers = Frontier(data, BATCH, max_bytes=max_bytes), Frontier(data, BATCH, max_bytes=max_bytes)
    for layer in order:
        frontiers[0].advance(model, layer)
        frontiers[1].advance(reference, layer, behind=behind)
        got = moments(layer, model, reference, data, frontiers)
        want = moments(layer, model, reference, data, None)
        for name in ("moment", "mean", "cross", "output_mean", "output_std"):
            np.testing.assert_allclose(getattr(got, name), getattr(want, name), rtol=1e-5, atol=1e-6)


def test_what_is_kept_is_what_is_read_later() -> None:
    model = network(1)
    frontier = Frontier(data_for(model), BATCH)
    assert not frontier.passed and not frontier.given
    frontier.advance(model, "a")
    assert not frontier.given  # all that is read is the network's input
    frontier.advance(model, "s")
    assert frontier.passed == {"a", "r", "b"} and set(frontier.given) == {"b", "r", "x"}
    frontier.advance(model, "b")  # behind it: it stays
    assert set(frontier.given) == {"b", "r", "x"}
    frontier.advance(model, "d")
    assert set(frontier.given) == {"c", "r"}
    frontier.advance(model, "d", behind=True)
    assert set(frontier.given) == {"d", "r"}


def test_a_frontier_too_large_to_keep_stays_where_it_was() -> None:
    model = network(1)
    one_tensor = 4 * 10 * 4 * 6 * 6
    frontier = Frontier(data_for(model), BATCH, max_bytes=2 * one_tensor)
    assert frontier.advance(model, "b")
    assert set(frontier.given) == {"r", "x"}
    assert not frontier.advance(model, "s") and frontier.advance(model, "b")
    assert set(frontier.given) == {"r", "x"} and frontier.passed == {"a", "r"}


class Counted:
    """Data that counts how often it is read."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self.times = 0

    def batches(self, batch: int | None = None) -> Iterator[Feed]:
        self.times += 1
        return self._data.batches(batch)


def test_data_is_not_read_again_behind_the_first_layer() -> None:
    model, reference = network(1), network(2)
    data = Counted(data_for(model))
    frontiers = Frontier(data, BATCH), Frontier(data, BATCH)
    for frontier, one in zip(frontiers, (model, reference), strict=True):
        frontier.advance(one, "b")
    assert data.times == 2
    for layer in ("b", "s", "d"):
        for frontier, one in zip(frontiers, (model, reference), strict=True):
            frontier.advance(one, layer)
        got = moments(layer, model, reference, data, frontiers)
        assert data.times == 2 and got.columns == moments(layer, model, reference, data_for(model), None).columns
    assert moments("d", model, reference, First(data, BATCH), frontiers).columns < got.columns and data.times == 3


BRANCHES = """net (float[N, 4, 6, 6] x) => (float[N, 4, 6, 6] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, w1)
    r = Relu (a)
    b = Conv <pads = [1, 1, 1, 1]> (r, w2)
    i = If (yes) <then_branch = g () => (float[N, 4, 6, 6] t) { t = Neg (READ) },
                  else_branch = h () => (float[N, 4, 6, 6] e) { e = Identity (READ) }>
    y = Add (b, i)
}"""


@pytest.mark.parametrize("read", ["r", "b"])
def test_what_the_body_of_a_branch_reads_is_kept_as_well(read: str) -> None:
    weights = {name: SHAPES[name] for name in ("w1", "w2")}
    rng = np.random.default_rng(1)
    model = model_of(
        BRANCHES.replace("READ", read),
        {"yes": np.array(True), **{n: rng.standard_normal(s).astype(np.float32) for n, s in weights.items()}},
    )
    data = data_for(model)
    frontier = Frontier(data, BATCH)
    frontier.advance(model, "a")
    frontier.advance(model, "b")
    frontier.advance(model, "i")
    assert set(frontier.given) == {read, "b"}
    (whole, rest) = (Taps(model, ["y"], given=given) for given in ({}, frontier.given))
    for number, feed in enumerate(data.batches(BATCH)):
        np.testing.assert_allclose(rest.read(frontier.beside(number, feed))["y"], whole.read(feed)["y"], rtol=1e-5)
