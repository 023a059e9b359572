"""Builds a network layer by layer, with seeded weights and, where asked for, zeros.

The same recipe gives the same bytes. A layer's random numbers depend on the seed and on its place alone, so a sparse
network carries the dense one's weights, rescaled, wherever it is not zero. A few made-up images travel along, so that
BatchNormalization gets the statistics of what reaches it and the logits depend on the image at any depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from zoo import sample
from zoo.factors import Factored
from zoo.graph import Attribute, GraphWriter
from zoo.normalisation import EPSILON, BatchNorm
from zoo.sample import Sample
from zoo.weights import fits, he_weight, own_sparsity, zero_mask


class BuildError(Exception):
    """The network cannot be built as asked for: one line, for the user."""


@dataclass(frozen=True)
class Recipe:
    """How the weights are made.

    `sparsity` (0..1) is the share of zeros in each layer made sparse: every Conv that is neither depthwise nor the
    first (unless `include_first`), and every Gemm if `fully_connected`. The pattern n:16 has a share of its own, which
    `sparsity` must be (BuildError), and leaves alone what has no whole windows of input channels. Without `batchnorm`
    each BatchNormalization is folded into the Conv before it.
    """

    seed: int = 0
    sparsity: float = 0.0
    pattern: str = "unstructured"
    include_first: bool = False
    fully_connected: bool = False
    batchnorm: bool = True

    def __post_init__(self) -> None:
        own = own_sparsity(self.pattern)
        if own is not None and self.sparsity != own:
            raise BuildError(f"{self.pattern} is a sparsity of {own:g}, not {self.sparsity:g}; leave --sparsity out")


@dataclass(frozen=True)
class Feature:
    """A tensor of the graph, and its `value` for a few images: (n, C, H, W), or (n, C) behind a Flatten."""

    name: str
    value: Sample

    @property
    def channels(self) -> int:
        """C."""
        return int(self.value.shape[1])


@dataclass
class Cost:
    """What the network costs for one image.

    `macs`: multiply-adds of Conv and Gemm, as if dense. `parameters`: weights, biases, and scale and shift of
    BatchNormalization (not its statistics, which papers do not count). `weights` and `zeros`: elements of Conv and Gemm
    weights, and how many of them are zero.
    """

    macs: int = 0
    parameters: int = 0
    weights: int = 0
    zeros: int = 0


class Builder:
    """Appends layers. In a `normalised` network a BatchNormalization follows each Conv; in others it is folded in.

    So a network published without it is one that was trained with it: its signals do not fade with depth either.
    """

    def __init__(self, recipe: Recipe, *, image_size: int, normalised: bool) -> None:
        self.cost = Cost()
        self._recipe = recipe
        self._separate = normalised and recipe.batchnorm
        self._graph = GraphWriter(3, image_size, image_size)
        self._layers = 0
        self.image = Feature("input", sample.images(3, image_size, self._next_rng()))

    def conv(
        self,
        x: Feature,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        pad: int | None = None,
        groups: int = 1,
        factors: Factored | None = None,
    ) -> Feature:
        """A square Conv, padded by half its kernel unless `pad` says otherwise, then its normalisation.

        The weight is made of `factors` where they are given, and has no zeros then.
        """
        pad = kernel // 2 if pad is None else pad
        height, width = _windows(x, kernel, stride, pad)
        depthwise = 1 < groups == x.channels
        sparse = not depthwise and (self.cost.weights > 0 or self._recipe.include_first)
        rng = self._next_rng()
        shape = (channels, x.channels // groups, kernel, kernel)
        weight = (
            self._weight(shape, rng, sparse=sparse) if factors is None else self._counted(factors.weight(shape, rng))
        )
        self.cost.macs += weight.size * height * width
        geometry: dict[str, Attribute] = {
            "dilations": [1, 1],
            "group": groups,
            "kernel_shape": [kernel] * 2,
            "pads": [pad] * 4,
            "strides": [stride] * 2,
        }
        value = sample.conv(x.value, weight, stride, pad, groups)
        return self._normalise(x, weight, geometry, value, BatchNorm.of(value, rng))

    def gemm(self, x: Feature, outputs: int, *, centred: bool = False) -> Feature:
        """A fully connected layer over (N, C) with a small bias, which takes each output's mean away if `centred`."""
        rng = self._next_rng()
        weight = self._weight((outputs, x.channels), rng, sparse=self._recipe.fully_connected)
        self.cost.macs += weight.size
        value = sample.gemm(x.value, weight)
        bias = 0.1 * np.sqrt(np.mean(value**2)) * rng.standard_normal(outputs)
        self.cost.parameters += outputs
        if centred:
            bias -= value.mean(axis=0)
        name = self._graph.node("Gemm", [x.name], {"weight": weight, "bias": bias}, {"transB": 1})
        return Feature(name, value + bias)

    def relu(self, x: Feature) -> Feature:
        """max(x, 0)."""
        return Feature(self._graph.node("Relu", [x.name]), np.maximum(x.value, 0))

    def relu6(self, x: Feature) -> Feature:
        """min(max(x, 0), 6)."""
        return Feature(self._graph.node("Clip", [x.name], {"low": 0.0, "high": 6.0}), np.clip(x.value, 0, 6))

    def add(self, a: Feature, b: Feature) -> Feature:
        """a + b."""
        return Feature(self._graph.node("Add", [a.name, b.name]), a.value + b.value)

    def concat(self, a: Feature, b: Feature) -> Feature:
        """a and b side by side along the channels."""
        name = self._graph.node("Concat", [a.name, b.name], attributes={"axis": 1})
        return Feature(name, np.concatenate([a.value, b.value], axis=1))

    def max_pool(self, x: Feature, kernel: int, stride: int, *, pad: int = 0, round_up: bool = False) -> Feature:
        """A square MaxPool; `round_up` keeps a last, partial window (Caffe's rule)."""
        height, width = _windows(x, kernel, stride, pad, round_up=round_up)
        attributes: dict[str, Attribute] = {
            "ceil_mode": int(round_up),
            "kernel_shape": [kernel] * 2,
            "pads": [pad] * 4,
            "strides": [stride] * 2,
        }
        name = self._graph.node("MaxPool", [x.name], attributes=attributes)
        return Feature(name, sample.max_pool(x.value, kernel, stride, pad, height, width))

    def global_average_pool(self, x: Feature) -> Feature:
        """The mean over all pixels, (N, C, 1, 1)."""
        return Feature(self._graph.node("GlobalAveragePool", [x.name]), x.value.mean(axis=(2, 3), keepdims=True))

    def flatten(self, x: Feature) -> Feature:
        """(N, C, H, W) -> (N, C * H * W)."""
        name = self._graph.node("Flatten", [x.name], attributes={"axis": 1})
        return Feature(name, x.value.reshape(len(x.value), -1))

    def subsample(self, x: Feature, channels: int) -> Feature:
        """Every second pixel both ways, and zero channels behind x's own: the shortcut that has no parameters."""
        height, width = x.value.shape[2:]
        added = channels - x.channels
        slices = {"starts": [0, 0], "ends": [height, width], "axes": [2, 3], "steps": [2, 2]}
        name = self._graph.node("Slice", [x.name], slices)
        name = self._graph.node("Pad", [name], {"pads": [0, 0, 0, 0, 0, added, 0, 0]})
        return Feature(name, np.pad(x.value[:, :, ::2, ::2], ((0, 0), (0, added), (0, 0), (0, 0))))

    def finish(self, name: str, logits: Feature, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The model; `logits` (N, classes) is the last layer added."""
        return self._graph.finish(name, logits.channels, metadata)

    def _next_rng(self) -> np.random.Generator:
        rng = np.random.default_rng([self._recipe.seed, self._layers])
        self._layers += 1
        return rng

    def _weight(self, shape: tuple[int, ...], rng: np.random.Generator, *, sparse: bool) -> NDArray[np.float32]:
        sparsity = self._recipe.sparsity if sparse and fits(shape, self._recipe.pattern) else 0.0
        weight = he_weight(shape, rng, zeros=sparsity)
        if sparsity > 0:
            # A stream of its own: the mask must not change the numbers drawn after it.
            zeros = zero_mask(shape, sparsity, self._recipe.pattern, rng.spawn(1)[0])
            weight[zeros] = 0
            self.cost.zeros += int(np.count_nonzero(zeros))
        return self._counted(weight)

    def _counted(self, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        self.cost.weights += weight.size
        self.cost.parameters += weight.size
        return weight

    def _normalise(
        self, x: Feature, weight: NDArray[np.float32], geometry: Mapping[str, Attribute], value: Sample, norm: BatchNorm
    ) -> Feature:
        """The Conv of `x`, whose bare result is `value`, and `norm` behind it or folded into it."""
        factor, offset = norm.as_affine()
        if self._separate:
            self.cost.parameters += 2 * weight.shape[0]
            name = self._graph.node("Conv", [x.name], {"weight": weight}, geometry)
            name = self._graph.node("BatchNormalization", [name], vars(norm), {"epsilon": EPSILON})
        else:
            self.cost.parameters += weight.shape[0]
            folded = {"weight": weight * factor.reshape(-1, 1, 1, 1), "bias": offset}
            name = self._graph.node("Conv", [x.name], folded, geometry)
        return Feature(name, value * factor.reshape(-1, 1, 1) + offset.reshape(-1, 1, 1))


def _windows(x: Feature, kernel: int, stride: int, pad: int, *, round_up: bool = False) -> tuple[int, int]:
    """How many windows fit down and across; BuildError where none does."""
    counts = []
    for size in x.value.shape[2:]:
        room = size + 2 * pad - kernel
        if room < 0:
            raise BuildError(
                f"the image is too small: a window of {kernel} meets a map of {size}; choose a larger --image-size"
            )
        steps = -(-room // stride) if round_up else room // stride
        counts.append(steps + 1)
    return counts[0], counts[1]
