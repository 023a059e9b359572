"""A network as a list of layers, and the loop that trains it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.adam import Adam
from training.layers import Array, Layer, Parameter
from training.pruning import Pruner, cubic_sparsity

Labels = NDArray[np.int64]


class Network:
    """Layers one behind the other, from images (N, H, W, C) to logits (N, classes)."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers

    def parameters(self) -> list[Parameter]:
        """Of all layers."""
        return [p for layer in self.layers for p in layer.parameters()]

    def forward(self, x: Array, *, training: bool) -> Array:
        """The logits."""
        for layer in self.layers:
            x = layer.forward(x, training=training)
        return x

    def backward(self, grad: Array) -> None:
        """Fill every parameter's gradient from dLoss/dLogits."""
        for layer in reversed(self.layers):
            grad = layer.backward(grad)

    def accuracy(self, images: Array, labels: Labels) -> float:
        """The share of images whose largest logit is the label's."""
        logits = self.forward(images, training=False)
        return float(np.mean(logits.argmax(axis=1) == labels))


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: the rate falls from `rate` to zero along a cosine.

    With a Pruner, sparsity rises to `sparsity` over the first `ramp` of all steps and stays there.
    """

    epochs: int
    rate: float
    batch: int = 64
    sparsity: float = 0.0
    ramp: float = 0.6


def train(
    network: Network,
    images: Array,
    labels: Labels,
    schedule: Schedule,
    rng: np.random.Generator,
    pruner: Pruner | None = None,
) -> Iterator[float]:
    """Train in place, yielding each epoch's mean loss; images are shifted by up to a pixel of the 8x8 original."""
    adam = Adam(network.parameters())
    steps = schedule.epochs * -(-len(images) // schedule.batch)
    step = 0
    for _ in range(schedule.epochs):
        losses = []
        for chosen in _batches(len(images), schedule.batch, rng):
            progress = step / steps
            if pruner is not None:
                pruner.raise_to(cubic_sparsity(progress / schedule.ramp, schedule.sparsity))
            logits = network.forward(_shifted(images[chosen], rng), training=True)
            loss, grad = cross_entropy(logits, labels[chosen])
            network.backward(grad)
            adam.step(0.5 * schedule.rate * (1 + math.cos(math.pi * progress)))
            if pruner is not None:
                pruner.hold()
            losses.append(loss)
            step += 1
        yield float(np.mean(losses))


def cross_entropy(logits: Array, labels: Labels) -> tuple[float, Array]:
    """Mean cross-entropy of softmax(logits) (N, classes) against `labels`, and its gradient."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_share = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    grad = np.exp(log_share)
    grad[rows, labels] -= 1
    return float(-log_share[rows, labels].mean()), grad / np.float32(len(labels))


def _batches(count: int, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    order = rng.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


def _shifted(images: Array, rng: np.random.Generator) -> Array:
    """Each image moved by -2..2 pixels both ways, zeros coming in."""
    reach = 2
    _, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    tops, lefts = rng.integers(0, 2 * reach + 1, (2, len(images)))
    rows = (tops[:, None] + np.arange(height))[:, :, None]
    columns = (lefts[:, None] + np.arange(width))[:, None, :]
    moved: Array = padded[np.arange(len(images))[:, None, None], rows, columns]
    return moved
