"""fold-batchnorm: applied, declined by name, and equal."""

import numpy as np
import pytest

from onnxcomp.model import Model
from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite, sparse

CONV = """
net (float[N, 6, 9, 9] x) => (float[N, C, H, W] y) {
    [conv] c = Conv <pads = [1, 1, 1, 1]%s> (x, w%s)
    [bn] y = BatchNormalization <epsilon = 0.01> (c, gamma, beta, mean, variance)
}
"""


def statistics(channels: int, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    values = {name: rng.standard_normal(channels).astype(np.float32) for name in ("gamma", "beta", "mean")}
    return values | {"variance": rng.random(channels).astype(np.float32) + 0.1}


def feed(shape: tuple[int, ...] = (2, 6, 9, 9)) -> np.ndarray:
    return np.random.default_rng(3).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("group", [1, 3])
def test_folds_into_the_conv_before(bias: bool, group: int) -> None:
    weights = {"w": sparse((12, 6 // group, 3, 3), 0), **statistics(12)}
    if bias:
        weights["b"] = np.arange(12, dtype=np.float32)
    model = model_of(CONV % (f", group = {group}", ", b" if bias else ""), weights)
    done, result = rewrite(model, "fold-batchnorm")
    assert ops(done.model) == ["Conv"]
    assert result.changed == 1
    assert_equal(model, done.model, 1e-6, x=feed())
    assert ops(model) == ["Conv", "BatchNormalization"], "the manager leaves its input alone"


@pytest.mark.parametrize("group", [1, 2])
def test_folds_into_a_transposed_conv(group: int) -> None:
    text = CONV.replace("Conv <", "ConvTranspose <")
    model = model_of(text % (f", group = {group}", ""), {"w": sparse((6, 4, 3, 3), 0), **statistics(4 * group)})
    done, _ = rewrite(model, "fold-batchnorm")
    assert ops(done.model) == ["ConvTranspose"]
    assert_equal(model, done.model, 1e-6, x=feed())


def test_declines_a_result_that_others_read() -> None:
    text = CONV.replace("(float[N, C, H, W] y)", "(float[N, C, H, W] y, float[N, C, H, W] c)")
    model = model_of(text % ("", ""), {"w": sparse((12, 6, 3, 3), 0), **statistics(12)})
    _, result = rewrite(model, "fold-batchnorm")
    assert "read by others" in reasons(result)["bn"]


def test_declines_a_parameter_that_a_caller_gives() -> None:
    text = CONV.replace("(float[N, 6, 9, 9] x)", "(float[N, 6, 9, 9] x, float[12] gamma)")
    weights = {"w": sparse((12, 6, 3, 3), 0), **statistics(12)}
    del weights["gamma"]
    _, result = rewrite(model_of(text % ("", ""), weights), "fold-batchnorm")
    assert "'gamma' is a graph input" in reasons(result)["bn"]


def test_declines_without_a_convolution_before() -> None:
    text = """net (float[N, 6, 9, 9] x) => (float[N, C, H, W] y) {
        [bn] y = BatchNormalization (x, gamma, beta, mean, variance)
    }"""
    _, result = rewrite(model_of(text, statistics(6)), "fold-batchnorm")
    assert reasons(result) == {"bn": "does not follow a convolution"}


def test_declines_a_variance_without_a_root() -> None:
    weights = {"w": sparse((12, 6, 3, 3), 0), **statistics(12)}
    weights["variance"][3] = -1
    _, result = rewrite(model_of(CONV % ("", ""), weights), "fold-batchnorm")
    assert "not positive" in reasons(result)["bn"]


def test_declines_a_weight_that_two_convolutions_share() -> None:
    text = """net (float[N, 6, 9, 9] x) => (float[N, C, H, W] y, float[N, C, H, W] z) {
        [conv] c = Conv (x, w)
        [other] z = Conv (x, w)
        [bn] y = BatchNormalization (c, gamma, beta, mean, variance)
    }"""
    _, result = rewrite(model_of(text, {"w": sparse((12, 6, 3, 3), 0), **statistics(12)}), "fold-batchnorm")
    assert "shared" in reasons(result)["bn"]


def test_declines_to_store_a_computed_weight() -> None:
    text = """net (float[N, 64, 9, 9] x) => (float[N, C, H, W] y) {
        shape = Constant <value_ints = [64, 64, 3, 3]> ()
        w = ConstantOfShape <value = float[1] {0.5}> (shape)
        [conv] c = Conv (x, w)
        [bn] y = BatchNormalization (c, gamma, beta, mean, variance)
    }"""
    done, result = rewrite(model_of(text, statistics(64)), "fold-batchnorm")
    assert "would store it whole" in reasons(result)["bn"]
    assert isinstance(done.model, Model)
