"""prune: zeros where the pattern has them and as many as asked, what it declines, and what data adds."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxcomp.convolution import Convolution
from onnxcomp.formats.sparse_conv import most_in_window
from onnxcomp.model import Model
from onnxcomp.pass_manager import PassManager, Run
from onnxcomp.runtime.session import run, session
from tests.passes.factors import dense, image, network
from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite

PADS = "pads = [1, 1, 1, 1]"


def blocks(weight: NDArray[np.float32], outputs: int, inputs: int) -> NDArray[np.bool_]:
    """Which blocks are not all zeros."""
    C_out, C_in = weight.shape[:2]
    live: NDArray[np.bool_] = (weight != 0).reshape(C_out // outputs, outputs, C_in // inputs, inputs, -1)
    return live.any(axis=(1, 3))


# By pattern: a share of zeros, and what of the weight is live and must be dense then; n:16 has no such blocks.
PATTERNS: dict[str, tuple[float, Callable[[NDArray[np.float32]], NDArray[np.bool_]]]] = {
    "unstructured": (0.8, lambda weight: weight != 0),
    "4x1": (0.6, lambda weight: blocks(weight, 4, 1)),
    "16x1": (0.5, lambda weight: blocks(weight, 16, 1)),
    "4x4": (0.7, lambda weight: blocks(weight, 4, 4)),
    "output-channels": (0.25, lambda weight: weight.any(axis=(1, 2, 3))),
    "input-channels": (0.5, lambda weight: weight.any(axis=(0, 2, 3))),
}


@pytest.mark.parametrize("on_data", [False, True])
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_zeros_lie_as_the_pattern_has_them(pattern: str, group: int, on_data: bool) -> None:
    sparsity, live = PATTERNS[pattern]
    done = pruned(dense((32, 16 // group, 3, 3)), f"sparsity={sparsity},pattern={pattern}", group, on_data=on_data)
    weight = weight_of(done.model)
    parts = live(weight)
    assert np.count_nonzero(parts) == parts.size - round(sparsity * parts.size)
    assert np.count_nonzero(weight) == weight.size * np.count_nonzero(parts) / parts.size
    (applied,) = done.passes[0].applied
    assert applied.candidate.options == {"pattern": pattern, "zeros": pytest.approx(sparsity, abs=0.02)}
    assert applied.candidate.error > 0.1 and ops(done.model) == ["Conv", "Identity"]


@pytest.mark.parametrize("on_data", [False, True])
@pytest.mark.parametrize(("sparsity", "kept"), [(0.75, 4), (0.5, 8), (0.99, 1)])
def test_windows_of_input_channels(sparsity: float, kept: int, on_data: bool) -> None:
    done = pruned(dense((8, 32, 3, 3)), f"sparsity={sparsity},pattern=n:16", on_data=on_data)
    weight = weight_of(done.model)
    assert most_in_window(weight) == kept
    assert np.count_nonzero(weight) == weight.size * kept // 16
    assert done.passes[0].applied[0].candidate.options["pattern"] == f"{kept}:16"


def test_without_data_the_largest_stay_as_they_are() -> None:
    weight = dense((8, 8, 3, 3))
    done = pruned(weight, "sparsity=0.5", on_data=False)
    found = weight_of(done.model)
    np.testing.assert_array_equal(found[found != 0], weight[found != 0])
    assert np.abs(weight[found == 0]).max() <= np.abs(weight[found != 0]).min()


@pytest.mark.parametrize("attributes", [PADS, "strides = [2, 1], dilations = [1, 2]", f"group = 2, {PADS}"])
def test_each_solver_is_nearer_than_the_one_before(attributes: str) -> None:
    """Inputs that are alike, so that weights can stand in for each other."""
    weight = dense((8, 4 if "group" in attributes else 8, 3, 3))
    model = network(weight, attributes, "y = Identity (c)")
    images = 0.3 * image(model, 60) + image(model, 60)[:, :1] + 1
    want = outputs(model, images)
    lost = []
    for options in ("solver=magnitude", "solver=admm"):
        done = PassManager.parse(f"prune{{sparsity=0.6,{options}}}").run(model, data=images)
        lost.append(np.square(outputs(done.model, images) - want).mean(axis=(0, 2, 3)))
    magnitude, admm = lost
    without_bias = PassManager.parse("prune{sparsity=0.6}").run(model)
    plain = np.square(outputs(without_bias.model, images) - want).mean(axis=(0, 2, 3))
    assert (magnitude < plain).all() and admm.sum() < 0.5 * magnitude.sum()


def test_statistics_keep_means_and_deviations() -> None:
    model = network(dense((8, 8, 3, 3)), PADS, "y = Identity (c)")
    images = image(model, 60) + 1
    done = PassManager.parse("prune{sparsity=0.8,solver=statistics}").run(model, data=images)
    want, got = outputs(model, images), outputs(done.model, images)
    np.testing.assert_allclose(got.mean(axis=(0, 2, 3)), want.mean(axis=(0, 2, 3)), atol=1e-4)
    np.testing.assert_allclose(got.std(axis=(0, 2, 3)), want.std(axis=(0, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize(
    ("weight", "attributes", "options", "reason"),
    [
        (dense((6, 8, 3, 3)), "", "pattern=4x1", "6 output channels of a group do not divide by 4"),
        (dense((16, 8, 3, 3)), "group = 2", "pattern=16x1", "8 output channels of a group do not divide by 16"),
        (dense((8, 6, 3, 3)), "", "pattern=4x4", "6 input channels of a group do not divide by 4"),
        (dense((8, 24, 3, 3)), "", "pattern=n:16", "24 input channels of a group do not divide by 16"),
        (dense((2, 1, 3, 3)), "group = 2", "", "depthwise"),
        (np.full((4, 4, 3, 3), np.nan, np.float32), "", "", "NaN"),
        (np.zeros((4, 4, 3, 3), np.float32), "", "", "all zeros"),
        (dense((4, 4, 1, 1)) * (np.arange(4) == 0).reshape(1, 4, 1, 1), "", "", "such zeros already"),
        (dense((1, 8, 3, 3)), "", "pattern=output-channels", "too small"),
        (dense((8, 1, 1, 1)), "", "pattern=4x1,sparsity=0.9", "nothing would be left"),
    ],
)
def test_declines(weight: NDArray[np.float32], attributes: str, options: str, reason: str) -> None:
    options = options if "sparsity" in options else f"sparsity=0.4,{options}"
    model = network(weight.astype(np.float32), attributes)
    _, result = rewrite(model, f"prune{{{options}}}")
    assert not result.applied and reason in reasons(result)["conv"]


def test_the_passes_behind_it_take_its_zeros() -> None:
    model = network(dense((32, 16, 3, 3)), PADS)
    for options in ("sparsity=0.8", "sparsity=0.75,pattern=n:16", "sparsity=0.5,pattern=16x1"):
        done, _ = rewrite(model, f"prune{{{options}}}")
        both, result = rewrite(model, f"prune{{{options}}},sparse-conv{{when=always}}")
        assert ops(both.model)[0].endswith("SparseConvRelu") and len(result.applied) == 1
        assert_equal(done.model, both.model, 1e-5, x=image(model))


def test_dead_channels_are_removed_with_what_they_add() -> None:
    text = """net (float[N, 8, 9, 9] x) => (float[N, 4, H, W] y) {
        [first] a = Conv (x, w1, b1)
        r = Relu (a)
        [second] y = Conv (r, w2)
    }"""
    weights = {"w1": dense((16, 8, 3, 3)), "b1": dense((16,)), "w2": dense((4, 16, 1, 1))}
    model = model_of(text, weights)
    images = image(model, 30)
    done = PassManager.parse("prune{sparsity=0.5,pattern=output-channels}").run(model, data=images)
    shrunk = PassManager.parse("prune{sparsity=0.5,pattern=output-channels},shrink").run(model, data=images)
    assert weight_of(shrunk.model).shape[0] <= 8
    assert_equal(done.model, shrunk.model, 1e-5, x=images)


def test_one_dimension_and_no_bias() -> None:
    text = "net (float[N, 8, 20] x) => (float[N, 16, L] y) {\n[conv] y = Conv <pads = [1, 1], strides = [2]> (x, w)\n}"
    model = model_of(text, {"w": dense((16, 8, 3))})
    images = np.random.default_rng(0).standard_normal((50, 8, 20)).astype(np.float32)
    done = PassManager.parse("prune{sparsity=0.5}").run(model, data=images)
    assert np.count_nonzero(weight_of(done.model)) == 16 * 8 * 3 // 2


def test_a_shared_weight_is_pruned_for_each_of_its_convolutions() -> None:
    text = """net (float[N, 4, 9, 9] x) => (float[N, 4, H, W] y) {
        [first] a = Conv <pads = [1, 1, 1, 1]> (x, w)
        [second] y = Conv <pads = [1, 1, 1, 1]> (a, w)
    }"""
    model = model_of(text, {"w": dense((4, 4, 3, 3))})
    done = PassManager.parse("prune{sparsity=0.5}").run(model, data=image(model, 20))
    first, second = (Convolution.read(done.model, node) for node in done.model.graph.nodes)
    assert isinstance(first, Convolution) and isinstance(second, Convolution)
    assert np.count_nonzero(first.weight) == np.count_nonzero(second.weight) == 72
    assert not np.array_equal(first.weight, second.weight)


@pytest.mark.parametrize("on_data", [False, True])
@pytest.mark.parametrize("layer", ["y = MatMul (x, w)", "p = MatMul (x, w)\ny = Add (p, b)", "y = Gemm (x, w, b)"])
def test_fully_connected_layers(layer: str, on_data: bool) -> None:
    weights = {"w": dense((32, 16)), "b": dense((16,))}
    model = model_of(f"net (float[N, 32] x) => (float[N, 16] y) {{\n{layer}\n}}", weights)
    x = np.random.default_rng(0).standard_normal((200, 32)).astype(np.float32)
    x[:, 16:] = x[:, :16] + 0.1 * x[:, 16:]
    want, lost = outputs(model, x), []
    for options in ("solver=magnitude", "pattern=n:16", "pattern=4x1", "solver=admm"):
        done = PassManager.parse(f"prune{{sparsity=0.5,{options}}}").run(model, data=x if on_data else None)
        assert np.count_nonzero(weight_of(done.model)) == 32 * 16 // 2
        lost.append(float(np.square(outputs(done.model, x) - want).sum()))
    assert lost[-1] < 0.5 * lost[0] if on_data else lost[-1] == lost[0]


def pruned(weight: NDArray[np.float32], options: str, group: int = 1, *, on_data: bool) -> Run:
    model = network(weight, f"group = {group}", "y = Identity (c)")
    return PassManager.parse(f"prune{{{options}}}").run(model, data=image(model, 20) if on_data else None)


def weight_of(model: Model) -> NDArray[np.float32]:
    weight = model.constant(model.graph.nodes[0].inputs[1])
    assert weight is not None
    return weight


def outputs(model: Model, images: NDArray[np.float32]) -> NDArray[np.float64]:
    (y,) = run(session(bytes(model.to_proto().SerializeToString()), 1), {"x": images})
    return y.astype(np.float64)
