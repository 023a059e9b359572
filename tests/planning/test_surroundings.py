"""Pieces of a network between nodes in blocks: the same function, and the nodes that run in the network."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from onnxcomp.context import Context
from onnxcomp.cost.measure import RunNode, node_times
from onnxcomp.fragment import Fragment
from onnxcomp.model import Model
from onnxcomp.runtime.session import run, session
from onnxcomp.surroundings import Border, border_of, fed, inner, surrounded
from tests.passes.graphs import model_of

SIDE = 12
RNG = np.random.default_rng(0)


def weights(**shapes: tuple[int, ...]) -> dict[str, NDArray[np.float32]]:
    return {name: RNG.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def network(
    body: str = "c = Conv <pads = [1, 1, 1, 1]> (x, w)",
    channels: int = 16,
    constants: Mapping[str, NDArray[np.int64]] = MappingProxyType({}),
) -> Model:
    """What gives c, and a residual behind it."""
    tensor = f"float[1, {channels}, {SIDE}, {SIDE}]"
    text = f"net ({tensor} x, {tensor} r) => ({tensor} y) {{ {body} s = Add (c, r) y = Relu (s) }}"
    return model_of(text, {**(weights(w=(channels, channels, 3, 3)) if "w)" in body else {}), **constants})


def surroundings(model: Model) -> tuple[Context, Fragment, Border]:
    context = Context(model, {tensor.name: tuple(tensor.shape) for tensor in model.graph.inputs}, threads=1)
    fragment = Fragment.of(model, model.graph.nodes)
    return context, fragment, border_of(fragment, context.layouts)


def alone(context: Context, fragment: Fragment) -> bytes:
    return bytes(fragment.model(context.shapes, context.dtypes, 17).SerializeToString())


def maps(*names: str, channels: int = 16) -> dict[str, NDArray[np.float32]]:
    return {name: RNG.standard_normal((1, channels, SIDE, SIDE), np.float32) for name in names}


def inner_ops(context: Context, fragment: Fragment, border: Border, **feed: NDArray[np.float32]) -> list[str]:
    (times,) = node_times([surrounded(alone(context, fragment), border)], fed(feed, border), 1, min_rounds=2)
    return [node.op for node in inner(times)]


def test_a_conv_with_its_residual_is_one_node_without_conversions() -> None:
    context, fragment, border = surroundings(network())
    assert border == {"x", "r", "y"}
    assert inner_ops(context, fragment, border, **maps("x", "r")) == ["Conv"]


def test_channels_that_do_not_fill_blocks() -> None:
    context, fragment, border = surroundings(network(channels=12))
    assert inner_ops(context, fragment, border, **maps("x", "r", channels=12)) == ["Conv"]


def test_what_reads_channels_first_pays_for_its_conversions() -> None:
    context, _, border = surroundings(network())
    shapes = {"short": np.array([1, 16, SIDE * SIDE]), "long": np.array([1, 16, SIDE, SIDE])}
    body = "a = Reshape (x, short) b = Reshape (a, long) c = Conv <pads = [1, 1, 1, 1]> (b, w)"
    other = network(body, constants=shapes)
    found = inner_ops(context, Fragment.of(other, other.graph.nodes), border, **maps("x", "r"))
    assert sorted(found) == ["Conv", "ReorderInput", "ReorderOutput", "Reshape"]  # two Reshapes become one


def test_the_same_function() -> None:
    context, fragment, border = surroundings(network())
    feed = fed(maps("x", "r"), border)
    after = session(surrounded(alone(context, fragment), border), 1)
    (got,) = run(after, {port.name: feed[port.name] for port in after.get_inputs()})
    inside = {name: np.repeat(np.maximum(feed[f"onnxcomp around: {name}"], 0), 16, axis=1) for name in ("x", "r")}
    (want,) = run(session(alone(context, fragment), 1), inside)
    np.testing.assert_allclose(got, np.repeat(want.sum(axis=1, keepdims=True), 8, axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("c = Conv <pads = [1, 1, 1, 1]> (x, w)", {"x", "r", "y"}),
        ("c = LRN <size = 3> (x)", set()),  # no Conv
    ],
)
def test_only_around_convolutions(body: str, expected: set[str]) -> None:
    assert surroundings(network(body))[2] == expected


def test_a_conv_of_few_channels_reads_its_input_as_it_is() -> None:
    text = f"net (float[1, 3, {SIDE}, {SIDE}] x) => (float[1, 16, {SIDE}, {SIDE}] y) {{ y = Conv (x, w) }}"
    assert surroundings(model_of(text, weights(w=(16, 3, 1, 1))))[2] == {"y"}


def test_two_outputs_are_left_as_they_are() -> None:
    tensor = f"float[1, 16, {SIDE}, {SIDE}]"
    body = "c = Conv <pads = [1, 1, 1, 1]> (x, w) y = Relu (c)"
    model = model_of(f"net ({tensor} x) => ({tensor} y, {tensor} c) {{ {body} }}", weights(w=(16, 16, 3, 3)))
    assert surroundings(model)[2] == {"x"}


def test_a_context_surrounds_what_is_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator of ours reads NCHW: its conversions are counted where layouts are chosen."""
    context, fragment, _ = surroundings(network())
    ours = Fragment((helper.make_node("Ours", ["x", "r"], ["y"], domain="ai.onnxcomp"),), {}, ("x", "r"), ("y",))
    timed: list[bytes] = []

    def rounds(models: Sequence[bytes], *_: object, **__: object) -> list[dict[RunNode, NDArray[np.float64]]]:
        timed.extend(models)
        return [{RunNode("y", "Conv", 0): np.ones(4)} for _ in models]

    monkeypatch.setattr("onnxcomp.context.rounds_inside", rounds)
    context.measure(fragment, fragment)
    context.measure(fragment, ours)
    assert [b"onnxcomp around" in model for model in timed] == [True, True, True, False]
