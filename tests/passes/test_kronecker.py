"""kronecker: where it finds products, what it declines, what its options choose, and that the outputs are equal."""

import numpy as np
import pytest

from tests.passes.factors import dense, image, network, product, shared_basis
from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite

TOLERANCE = 1e-5  # float32 sums of some hundred products in two stages, and factors rounded to float32
KRONECKER = product((4, 4, 1, 1), (4, 4, 3, 3))


@pytest.mark.parametrize(
    ("weight", "attributes"),
    [
        (KRONECKER, "pads = [1, 1, 1, 1]"),
        (KRONECKER, "strides = [2, 2], pads = [0, 1, 2, 1]"),
        (product((16, 1, 1, 1), (1, 16, 3, 3), 4), "dilations = [2, 1]"),
        (product((4, 4, 3, 1), (4, 4, 1, 3)), 'auto_pad = "SAME_UPPER", strides = [2, 2]'),
        (product((2, 2, 2, 2), (8, 8, 2, 2)), "dilations = [2, 1], pads = [1, 1, 1, 1]"),
        (np.concatenate([product((8, 1, 1, 1), (1, 16, 3, 3), 2)] * 2), "group = 2"),
    ],
)
def test_finds_what_is_a_product(weight: np.ndarray, attributes: str) -> None:
    model = network(weight, attributes)
    done, result = rewrite(model, "kronecker{when=always}")
    (applied,) = result.applied
    assert applied.candidate.error == 0
    before, after = applied.candidate.size_bytes
    assert after < 0.7 * before
    for batch in (1, 3):
        assert_equal(model, done.model, TOLERANCE, x=image(model, batch))


def test_maps_of_any_size() -> None:
    model = network(KRONECKER, size="Height, Width")
    done, result = rewrite(model, "kronecker{shape=4x4x1x1,when=always}")
    assert result.changed == 1 and "Shape" in ops(done.model)
    for side in (5, 9):
        assert_equal(model, done.model, TOLERANCE, x=image(model, side=side))


def test_a_normalisation_stays_behind() -> None:
    text = """net (float[N, 16, 9, 9] x) => (float[N, 16, H, W] y) {
        [conv] c = Conv (x, w)
        y = BatchNormalization (c, scale, scale, scale, scale)
    }"""
    scale = np.linspace(0.5, 2, 16, dtype=np.float32)
    model = model_of(text, {"w": KRONECKER, "scale": scale})
    done, result = rewrite(model, "kronecker{when=always}")
    assert result.changed == 1 and ops(done.model)[-1] == "BatchNormalization"
    assert_equal(model, done.model, TOLERANCE, x=image(model))


@pytest.mark.parametrize(
    ("pipeline", "weight", "attributes", "reason"),
    [
        ("kronecker", dense((16, 16, 3, 3)), "", "no short sum"),
        ("kronecker", shared_basis((16, 16, 3, 3), 2), "", "share 2 bases"),
        ("kronecker", dense((2, 1, 3, 3)), "group = 2", "depthwise"),
        ("kronecker", np.full((4, 4, 3, 3), np.inf, np.float32), "", "Inf"),
        ("kronecker{shape=3x1x1x1,rank=1}", dense((16, 16, 3, 3)), "", "no factor of 3x1x1x1"),
        ("kronecker{shape=2x1x1,rank=1}", dense((16, 16, 3, 3)), "", "no factor of 2x1x1"),
        ("kronecker{shape=2x2x1x1,rank=1}", dense((16, 8, 3, 3)), "group = 2", "grouped convolution do not split"),
        ("kronecker{rank=4,max_error=0.01}", dense((16, 16, 3, 3)), "", "as close as allowed"),
        ("kronecker{max_error=0.001}", dense((16, 16, 3, 3)), "", "no decomposition within 0.001"),
    ],
)
def test_declines(pipeline: str, weight: np.ndarray, attributes: str, reason: str) -> None:
    _, result = rewrite(network(weight, attributes), pipeline)
    assert not result.changed
    assert reason in reasons(result)["conv"]


@pytest.mark.parametrize(
    "options", ["compression=4", "max_error=0.8", "rank=2", "shape=4x2x1x1,rank=3", "shape=16x1x1x1,compression=2"]
)
def test_options_choose_a_decomposition(options: str) -> None:
    given = dict(item.split("=") for item in options.split(","))
    model = network(dense((16, 16, 3, 3)), "pads = [1, 1, 1, 1]")
    done, result = rewrite(model, f"kronecker{{{options},when=always}}")
    (applied,) = result.applied
    chosen, error = applied.candidate.options, applied.candidate.error
    assert str(chosen["rank"]) == given.get("rank", str(chosen["rank"]))
    assert chosen["shape"] == given.get("shape", chosen["shape"])
    assert 0 < error <= float(given.get("max_error", 1))
    stored = sum(v.size for n, v in applied.candidate.after.constants.items() if n in ("w_a", "w_b"))
    assert stored * float(given.get("compression", 1)) <= 16 * 16 * 9
    assert applied.rewrite_error is not None and applied.rewrite_error < TOLERANCE
    assert done.model.graph.nodes


def test_one_dimension() -> None:
    text = "net (float[N, 16, 9] x) => (float[N, 16, L] y) {\n[conv] y = Conv <pads = [1, 1], strides = [2]> (x, w)\n}"
    model = model_of(text, {"w": product((4, 4, 1), (4, 4, 3))})
    done, result = rewrite(model, "kronecker{when=always}")
    assert result.changed == 1
    assert_equal(model, done.model, TOLERANCE, x=image(model)[:, :, 0])
    _, result = rewrite(model, "kronecker{shape=4x4x1,rank=1,when=always}")
    assert result.changed == 1


def test_an_input_that_is_a_constant_is_declined() -> None:
    text = "net (float[N, 16, 4, 4] x) => (float[N, 16, 4, 4] y) {\n[conv] c = Conv (z, w)\ny = Add (c, x)\n}"
    _, result = rewrite(model_of(text, {"w": KRONECKER, "z": dense((1, 16, 6, 6))}), "kronecker{when=always}")
    assert "its input is a constant" in reasons(result)["conv"]


def test_a_kernel_larger_than_its_map_is_declined() -> None:
    _, result = rewrite(network(KRONECKER, size="2, 2"), "kronecker{rank=1,when=faster}")
    assert not result.changed and reasons(result)["conv"]


def test_proposes_what_it_measured() -> None:
    model = network(product((4, 4, 1, 1), (32, 32, 3, 3)), "pads = [1, 1, 1, 1]", size="28, 28")
    _, result = rewrite(model, "kronecker")
    assert result.timings
    assert all(timing.before_ms > 0 and timing.after_ms > 0 for timing in result.timings.values())
