"""layerwise: a layer's problem after others were replaced, against plain least squares on the columns themselves."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxcomp import layerwise
from onnxcomp.calibration import open_data
from onnxcomp.calibration.frontier import Frontier
from onnxcomp.calibration.moments import Moments, layer_moments
from onnxcomp.calibration.taps import Taps
from onnxcomp.errors import DataError
from onnxcomp.factored import linear
from onnxcomp.factored.linear import LinearTarget
from onnxcomp.factored.target import with_weight
from onnxcomp.fragment import Fragment
from onnxcomp.inputs import input_specs
from onnxcomp.layerwise import Layerwise
from onnxcomp.model import Model
from onnxcomp.runtime.session import run, session
from tests.passes.graphs import model_of

NET = """net (float[N, 3, 6, 6] x) => (float[N, 5, 6, 6] y) {
    [first] a = Conv <pads = [1, 1, 1, 1]> (x, w1)
    [act] r = Relu (a)
    [second] y = Conv (r, w2, b2)
}"""


@pytest.fixture
def network() -> Model:
    rng = np.random.default_rng(0)
    weights = {"w1": rng.standard_normal((4, 3, 3, 3)), "w2": rng.standard_normal((5, 4, 1, 1)), "b2": np.arange(5)}
    return model_of(NET, {name: value.astype(np.float32) for name, value in weights.items()})


@pytest.fixture
def images() -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((40, 3, 6, 6)).astype(np.float32)


def alone(model: Model, name: str) -> Fragment:
    return Fragment.of(model, [node for node in model.graph.nodes if node.name == name])


def output(model: Model, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """(columns, C_out)"""
    (y,) = run(session(bytes(model.to_proto().SerializeToString())), {"x": x})
    return y.astype(np.float64).transpose(0, 2, 3, 1).reshape(-1, y.shape[1])


def test_the_problem_is_least_squares_on_what_the_layer_gets(network: Model, images: NDArray[np.float32]) -> None:
    layers = Layerwise(network, open_data(images, input_specs(network)))
    other = with_weight(alone(network, "first"), np.random.default_rng(2).standard_normal((4, 3, 3, 3)), np.ones(4))
    layers.settle(other)
    problem = layers.problem("y")

    inputs = other.model({"x": images.shape, "a": (40, 4, 6, 6)}, {}, 17)
    (a,) = run(session(bytes(inputs.SerializeToString())), {"x": images})
    columns = np.maximum(a, 0).transpose(0, 2, 3, 1).reshape(-1, 4).astype(np.float64)
    with_one = np.concatenate([columns, np.ones((len(columns), 1))], axis=1)
    expected, *_ = np.linalg.lstsq(with_one, output(network, images), rcond=None)
    np.testing.assert_allclose(problem.weight.reshape(5, 4), expected[:4].T, atol=2e-3)  # the damping's share
    np.testing.assert_allclose(problem.bias(expected[:4].T.reshape(5, 4, 1, 1)), expected[4], atol=2e-3)


def test_few_samples_do_where_what_is_before_a_layer_is_too_large_to_be_kept(
    network: Model, images: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    few, whole = (Layerwise(network, open_data(x, input_specs(network))) for x in (images[:8], images))
    want, other = few.problem("y"), whole.problem("y")
    monkeypatch.setattr(layerwise, "FEWEST_SAMPLES", 8)
    monkeypatch.setattr(layerwise, "Frontier", partial(Frontier, max_bytes=1000))
    monkeypatch.setattr(layerwise, "_BATCH", 4)
    got = Layerwise(network, open_data(images, input_specs(network))).problem("y")
    np.testing.assert_allclose(got.moment, want.moment, rtol=1e-5)
    assert not np.allclose(got.moment, other.moment, rtol=1e-3)


def test_a_layer_of_the_original_is_run_once(
    network: Model, images: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it gives is read on the way to the next one."""
    computed: list[str] = []

    class Counted(Taps):
        def __init__(self, model: Model, *args: Any, **options: Any) -> None:
            super().__init__(model, *args, **options)
            if model is layers._original and self._computed:
                computed.extend(self._computed)

    monkeypatch.setattr("onnxcomp.calibration.frontier.Taps", Counted)
    monkeypatch.setattr("onnxcomp.calibration.moments.Taps", Counted)
    layers = Layerwise(network, open_data(images, input_specs(network)))
    for name in ("a", "y"):
        layers.problem(name)
    assert computed == ["a", "y"]


def test_the_first_layer_is_asked_for_what_it_is(network: Model, images: NDArray[np.float32]) -> None:
    problem = Layerwise(network, open_data(images, input_specs(network))).problem("a")
    weight = network.constant(network.graph.tensors()["w1"])
    assert weight is not None
    np.testing.assert_allclose(problem.weight, weight, atol=1e-4)
    np.testing.assert_allclose(problem.bias(weight), np.zeros(4), atol=1e-4)


def test_layers_apart_are_as_in_the_original(network: Model, images: NDArray[np.float32]) -> None:
    layers = Layerwise(network, open_data(images, input_specs(network)))
    before = layers.problem("y")
    layers.settle(with_weight(alone(network, "first"), np.zeros((4, 3, 3, 3))))
    apart = layers.problem("y", sequential=False)
    for part in ("weight", "moment", "mean", "output_mean", "output_std"):
        np.testing.assert_allclose(getattr(apart, part), getattr(before, part), rtol=1e-3, atol=1e-4)
    assert not layers.problem("y").moment.any()


def test_layers_apart_in_any_order(network: Model, images: NDArray[np.float32]) -> None:
    data = open_data(images, input_specs(network))
    fresh = {name: Layerwise(network, data).problem(name, sequential=False) for name in ("a", "y")}
    layers = Layerwise(network, data)
    for name in ("a", "a", "y", "y", "a"):
        np.testing.assert_array_equal(layers.problem(name, sequential=False).moment, fresh[name].moment)


def test_layers_apart_in_the_order_of_the_graph(network: Model, images: NDArray[np.float32]) -> None:
    """One pass over the data for all that are still to come; none for those that others gathered."""
    passes: list[list[str]] = []

    def counted(model: Model, layers: list[str], *args: Any, **options: Any) -> dict[str, Moments]:
        found = layer_moments(model, layers, *args, **options)
        passes.append(list(found))
        return found

    data = open_data(images, input_specs(network))
    fresh = {name: Layerwise(network, data).problem(name, sequential=False) for name in ("a", "y")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onnxcomp.layerwise.layer_moments", counted)
        gathered = Layerwise(network, data).gathered(["a", "y"])
        assert passes == [["a", "y"]]
        for given, asked, wanted in (
            ([], ["a", "y"], [["a", "y"]]),
            ([], ["y", "y", "a"], [["y"], ["a", "y"]]),
            (["y"], ["y", "a"], [["a", "y"]]),
            (["y", "a"], ["y", "a"], []),
        ):
            passes.clear()
            layers = Layerwise(network, data)
            for name in asked:
                if name in given:
                    layers.give(name, gathered[name])
                np.testing.assert_array_equal(layers.problem(name, sequential=False).moment, fresh[name].moment)
            assert passes == wanted


def test_layers_that_cannot_be_told_are_not_gathered(network: Model, images: NDArray[np.float32]) -> None:
    """Nor any where it is the first: who asks for its problem is told why."""
    data = open_data(images, input_specs(network))
    layers = Layerwise(network, data)
    assert list(layers.gathered(["a", "x", "y"])) == ["a", "y"] and not layers.gathered(["x", "a"])
    network.graph.tensors()["w1"].values = np.full((4, 3, 3, 3), 1e38, np.float32)
    layers = Layerwise(network, data)
    assert list(layers.gathered(["a", "y"])) == ["a"] and not layers.gathered(["y"])


def test_layers_apart_before_one_that_cannot_be_told(network: Model, images: NDArray[np.float32]) -> None:
    """The second layer's input is no number; the first one's is."""
    network.graph.tensors()["w1"].values = np.full((4, 3, 3, 3), 1e38, np.float32)
    layers = Layerwise(network, open_data(images, input_specs(network)))
    assert np.isfinite(layers.problem("a", sequential=False).moment).all()
    with pytest.raises(DataError, match="infinite or no number"):
        layers.problem("y", sequential=False)


def test_the_network_with_one_layer_replaced(network: Model, images: NDArray[np.float32]) -> None:
    layers = Layerwise(network, open_data(images, input_specs(network)))
    layers.settle(with_weight(alone(network, "first"), np.zeros((4, 3, 3, 3))))
    second = np.random.default_rng(3).standard_normal((5, 4, 1, 1))
    other = layers.replaced(with_weight(alone(network, "second"), second))
    network.graph.tensors()["w2"].values = second.astype(np.float32)
    np.testing.assert_allclose(output(other, images), output(network, images), rtol=1e-5, atol=1e-5)


def test_scaled_rows_vary_as_the_original_outputs(network: Model, images: NDArray[np.float32]) -> None:
    layers = Layerwise(network, open_data(images, input_specs(network)))
    other = with_weight(alone(network, "first"), np.random.default_rng(2).standard_normal((4, 3, 3, 3)))
    layers.settle(other)
    problem = layers.problem("y")
    weight = np.random.default_rng(3).standard_normal((5, 4, 1, 1))
    scaled = weight * problem.scale(weight)[:, None, None, None]

    inputs = other.model({"x": images.shape, "a": (40, 4, 6, 6)}, {}, 17)
    (a,) = run(session(bytes(inputs.SerializeToString())), {"x": images})
    columns = np.maximum(a, 0).transpose(0, 2, 3, 1).reshape(-1, 4).astype(np.float64)
    found = columns @ scaled.reshape(5, 4).T + problem.bias(scaled)
    wanted = output(network, images)
    np.testing.assert_allclose(found.std(axis=0), wanted.std(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found.mean(axis=0), wanted.mean(axis=0), rtol=1e-4, atol=1e-4)


def test_the_error_of_a_stand_in_is_that_of_its_output(network: Model, images: NDArray[np.float32]) -> None:
    problem = Layerwise(network, open_data(images, input_specs(network))).problem("y")
    other = (problem.weight + 0.1 * np.random.default_rng(2).standard_normal(problem.weight.shape)).astype(np.float32)
    replaced = network.clone()
    (second,) = (node for node in replaced.graph.nodes if node.name == "second")
    second.inputs[1].values, second.inputs[2].values = other, problem.bias(other)
    want = output(network, images)
    expected = np.linalg.norm(output(replaced, images) - want) / np.linalg.norm(want - want.mean(axis=0))
    assert problem.error(other) == pytest.approx(expected, rel=1e-3)
    assert problem.error(problem.weight) == 0


LINEAR = """net (float[N, 3, 6] x) => (float[N, 3, 4] y) {
    [first] a = MatMul (x, w1)
    r = Relu (a)
    [second] p = MatMul (r, w2)
    y = Add (p, b2)
}"""


def test_fully_connected_layers_likewise() -> None:
    rng = np.random.default_rng(0)
    shapes = {"w1": (6, 5), "w2": (5, 4), "b2": (4,)}
    model = model_of(LINEAR, {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()})
    x = rng.standard_normal((200, 3, 6)).astype(np.float32)
    layers = Layerwise(model, open_data(x, input_specs(model)))
    weight, bias = rng.standard_normal((5, 6)).astype(np.float32), np.arange(5, dtype=np.float32)
    layers.settle(linear.dense(LinearTarget(alone(model, "first"), 3, bias), weight))
    problem = layers.problem("p")

    columns = np.maximum(x.reshape(-1, 6) @ weight.T + bias, 0).astype(np.float64)
    (y,) = run(session(bytes(model.to_proto().SerializeToString())), {"x": x})
    with_one = np.concatenate([columns, np.ones((len(columns), 1))], axis=1)
    expected, *_ = np.linalg.lstsq(with_one, y.reshape(-1, 4).astype(np.float64), rcond=None)
    np.testing.assert_allclose(problem.weight, expected[:5].T, atol=0.03)  # the damping's share
    np.testing.assert_allclose(problem.bias(expected[:5].T), expected[5], atol=0.03)


def test_inputs_that_do_not_vary_leave_the_weight_as_it_is() -> None:
    text = "net (float[N, 6] x) => (float[N, 4] y) {\ny = MatMul (x, w)\n}"
    weight = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    model = model_of(text, {"w": weight})
    x = np.repeat(np.random.default_rng(1).standard_normal((1, 6)), 3, axis=0).astype(np.float32)
    problem = Layerwise(model, open_data(x, input_specs(model))).problem("y")
    np.testing.assert_allclose(problem.weight, weight.T, atol=1e-5)
    np.testing.assert_array_equal(problem.moment, problem.moment[0, 0] * np.eye(6))
    assert problem.moment[0, 0] > 0
    other = weight.T + 1
    np.testing.assert_allclose(x @ other.T + problem.bias(other), x @ weight, atol=1e-5)


RESIDUAL = """net (float[N, 3, 6, 6] x) => (float[N, 4, 6, 6] y) {
    [first] s = Conv (x, w1)
    r = Relu (s)
    [second] m = Conv (r, w2)
    y = Add (s, m)
}"""


def test_what_a_shortcut_lacks_is_asked_of_what_is_added_to_it(images: NDArray[np.float32]) -> None:
    rng = np.random.default_rng(0)
    w1, w2, other = (rng.standard_normal((4, n, 1, 1)).astype(np.float32) for n in (3, 4, 3))
    network = model_of(RESIDUAL, {"w1": w1, "w2": w2})
    layers = Layerwise(network, open_data(images, input_specs(network)))
    layers.settle(with_weight(alone(network, "first"), other))
    problem = layers.problem("m")

    shortcut = np.einsum("nchw,oc->nhwo", images.astype(np.float64), other[:, :, 0, 0]).reshape(-1, 4)
    with_one = np.concatenate([np.maximum(shortcut, 0), np.ones((len(shortcut), 1))], axis=1)
    expected, *_ = np.linalg.lstsq(with_one, output(network, images) - shortcut, rcond=None)
    np.testing.assert_allclose(problem.weight.reshape(4, 4), expected[:4].T, atol=2e-3)  # the damping's share
    np.testing.assert_allclose(problem.bias(expected[:4].T.reshape(4, 4, 1, 1)), expected[4], atol=2e-3)


@pytest.mark.parametrize("sequential", [True, False])
def test_an_input_of_few_directions_still_has_a_norm(network: Model, sequential: bool) -> None:
    """Sums in single precision leave eigenvalues a little below zero, on which factors would grow without end."""
    rng = np.random.default_rng(1)
    colours = rng.standard_normal((400, 1)) * rng.standard_normal(3)  # all of one hue, and flat
    data = np.tile(100 * colours[:, :, None, None], (1, 1, 6, 6)).astype(np.float32)
    problem = Layerwise(network, open_data(data, input_specs(network))).problem("a", sequential=sequential)
    spectrum = np.linalg.eigvalsh(problem.moment)
    assert 0 < spectrum[0] < 1e-5 * spectrum[-1]
