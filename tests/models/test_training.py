"""The NumPy training code: gradients against finite differences, pruning, export, and a short real run."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

import train_digits
from training.export import to_onnx
from training.layers import Array, BatchNorm, Conv, Dropout, Gemm, GlobalAveragePool, Layer, MaxPool, Parameter, Relu
from training.loop import Network, Schedule, cross_entropy, train
from training.pruning import Pruner, cubic_sparsity


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def in_double(layer: Layer) -> Layer:
    """The same layer with float64 parameters: finite differences need the digits."""
    for parameter in layer.parameters():
        parameter.value = parameter.value.astype(np.float64)
        parameter.grad = np.zeros_like(parameter.value)
    return layer


def slope(layer: Layer, x: Array, target: Array, moved: Array, direction: Array) -> float:
    """d/dt of sum(target * layer(x)) as `moved` goes along `direction`, by central differences."""
    start, step = moved.copy(), 1e-5
    sums = []
    for sign in (1, -1):
        moved[...] = start + sign * step * direction
        sums.append(float(np.sum(target * layer.forward(x, training=True))))
    moved[...] = start
    return (sums[0] - sums[1]) / (2 * step)


LAYERS: dict[str, tuple[Layer, tuple[int, ...]]] = {
    "conv3x3": (Conv(3, 4, 3, rng()), (2, 6, 4, 3)),
    "conv1x1": (Conv(3, 4, 1, rng()), (2, 6, 4, 3)),
    "batchnorm": (BatchNorm(3), (4, 6, 4, 3)),
    "relu": (Relu(), (2, 6, 4, 3)),
    "max-pool": (MaxPool(), (2, 6, 4, 3)),
    "global-average-pool": (GlobalAveragePool(), (2, 6, 4, 3)),
    "gemm": (Gemm(5, 3, rng()), (4, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_match_finite_differences(name: str) -> None:
    layer, shape = LAYERS[name]
    layer = in_double(layer)
    draw = rng()
    x = draw.standard_normal(shape)
    target = draw.standard_normal(layer.forward(x, training=True).shape)
    grad = layer.backward(target)
    for moved, gradient in [(x, grad.copy()), *((p.value, p.grad.copy()) for p in layer.parameters())]:
        direction = draw.standard_normal(moved.shape)
        expected = slope(layer, x, target, moved, direction)
        assert float(np.sum(gradient * direction)) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_dropout_scales_what_it_keeps_and_passes_gradients_through_it() -> None:
    layer, ones = Dropout(0.25, rng()), np.ones((100, 100), dtype=np.float32)
    y = layer.forward(ones, training=True)
    assert np.unique(y) == pytest.approx([0, 4 / 3])
    assert float(np.mean(y)) == pytest.approx(1, abs=0.05)
    assert np.array_equal(layer.backward(ones), y)
    assert np.array_equal(layer.forward(ones, training=False), ones)


def test_cross_entropy_gradient() -> None:
    logits, labels = rng().standard_normal((4, 3)), np.array([0, 2, 1, 1])
    loss, grad = cross_entropy(logits, labels)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert loss == pytest.approx(-np.log(shares[np.arange(4), labels]).mean())
    assert np.allclose(grad, (shares - np.eye(3)[labels]) / 4)


def test_pruner_zeroes_the_smallest_and_never_lets_go() -> None:
    parameter = Parameter(np.array([[4.0, -1.0, 3.0], [-2.0, 5.0, 0.5]], dtype=np.float32))
    pruner = Pruner([parameter])
    pruner.raise_to(0.5)
    assert parameter.value.tolist() == [[4, 0, 3], [0, 5, 0]]
    parameter.value += 10
    pruner.hold()
    assert parameter.value.tolist() == [[14, 0, 13], [0, 15, 0]]
    pruner.raise_to(0.2)
    assert np.count_nonzero(parameter.value) == 3
    pruner.raise_to(4 / 6)
    assert parameter.value.tolist() == [[14, 0, 0], [0, 15, 0]]


def test_sparsity_rises_from_nothing_to_final() -> None:
    ramp = [cubic_sparsity(progress, 0.9) for progress in (0, 0.25, 0.5, 0.75, 1, 2)]
    assert ramp == sorted(ramp)
    assert (ramp[0], ramp[4], ramp[5]) == (0, 0.9, 0.9)
    assert ramp[2] > 0.45


def test_export_computes_what_the_network_does() -> None:
    draw = rng()
    network = train_digits.network(draw, widths=(3, 5))
    data = train_digits.digits(seed=0)
    images, labels = data.train_images[:96], data.train_labels[:96]
    assert list(train(network, images, labels, Schedule(epochs=1, rate=1e-2, batch=32), draw))
    model = to_onnx(network, "small", train_digits.SIZE, train_digits.CLASSES, {})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": images.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(logits, network.forward(images, training=False), rtol=1e-4, atol=1e-4)


def test_short_training_learns_and_prunes() -> None:
    def trained() -> tuple[list[float], Network]:
        draw = rng()
        network = train_digits.network(draw, widths=(16, 32, 32))
        schedule = Schedule(epochs=5, rate=1e-2, batch=16, sparsity=0.5)
        pruner = train_digits.prunable(network)
        data = train_digits.digits(seed=0)
        losses = train(network, data.train_images[:640], data.train_labels[:640], schedule, draw, pruner)
        return list(losses), network

    losses, network = trained()
    assert losses[-1] < 0.7 * losses[0]
    first, *others = (layer.weight.value for layer in network.layers if isinstance(layer, Conv))
    assert np.all(first != 0)
    assert all(np.count_nonzero(weight == 0) == round(0.5 * weight.size) for weight in others)
    again, _ = trained()
    assert losses == again, "training is not a function of its seed"
