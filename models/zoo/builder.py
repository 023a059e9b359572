"""Builds a network layer by layer, with seeded weights and, where asked for, zeros.

The same recipe gives the same bytes. A layer's random numbers depend on the seed and on its place alone, so a sparse
network carries the dense one's weights, rescaled, wherever it is not zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from zoo.graph import GraphWriter
from zoo.moments import Array, Moments
from zoo.weights import Pattern, he_weight, zero_mask

_EPSILON = 1e-5


class BuildError(Exception):
    """The network cannot be built as asked for: one line, for the user."""


@dataclass(frozen=True)
class Recipe:
    """How the weights are made.

    `sparsity` (0..1) is the share of zeros in each layer made sparse: every Conv that is neither depthwise nor the
    first (unless `include_first`), and every Gemm if `fully_connected`. Without `batchnorm` each BatchNormalization is
    folded into the Conv before it.
    """

    seed: int = 0
    sparsity: float = 0.0
    pattern: Pattern = "unstructured"
    include_first: bool = False
    fully_connected: bool = False
    batchnorm: bool = True


@dataclass(frozen=True)
class Feature:
    """A tensor (N, C, height, width) of the graph; a flattened one has height = width = 1."""

    name: str
    height: int
    width: int
    moments: Moments

    @property
    def channels(self) -> int:
        """C."""
        return self.moments.mean.size


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
    """Appends layers. In a `normalised` network a BatchNormalization follows each Conv; in the others a Conv has a bias."""

    def __init__(self, recipe: Recipe, *, image_size: int, normalised: bool) -> None:
        self.cost = Cost()
        self.image = Feature("input", image_size, image_size, Moments.standard(3))
        self._recipe = recipe
        self._normalised = normalised
        self._graph = GraphWriter(3, image_size, image_size)
        self._layers = 0

    def conv(
        self, x: Feature, channels: int, kernel: int, *, stride: int = 1, pad: int | None = None, groups: int = 1
    ) -> Feature:
        """A square Conv, padded by half its kernel unless `pad` says otherwise, then its normalisation."""
        pad = kernel // 2 if pad is None else pad
        height, width = _window(x, kernel, stride, pad)
        depthwise = 1 < groups == x.channels
        sparse = not depthwise and (self._layers > 0 or self._recipe.include_first)
        rng = self._next_rng()
        weight = self._weight((channels, x.channels // groups, kernel, kernel), rng, sparse=sparse)
        self.cost.macs += weight.size * height * width
        geometry: dict[str, int | Sequence[int]] = {
            "dilations": [1, 1],
            "group": groups,
            "kernel_shape": [kernel, kernel],
            "pads": [pad] * 4,
            "strides": [stride, stride],
        }
        moments = x.moments.through_linear(weight, groups)
        name, moments = self._convolve(x.name, weight, geometry, moments, rng)
        return Feature(name, height, width, moments)

    def gemm(self, x: Feature, outputs: int) -> Feature:
        """A fully connected layer over a flat map."""
        return self._gemm(x, outputs, _small_bias)

    def logits(self, x: Feature, classes: int) -> Feature:
        """The last fully connected layer. Its bias takes the mean away, so that the class depends on the image."""
        return self._gemm(x, classes, lambda moments, rng: _small_bias(moments, rng) - moments.mean)

    def relu(self, x: Feature) -> Feature:
        """max(x, 0)."""
        return Feature(self._graph.node("Relu", [x.name]), x.height, x.width, x.moments.through_relu())

    def relu6(self, x: Feature) -> Feature:
        """min(max(x, 0), 6)."""
        name = self._graph.node("Clip", [x.name], {"low": 0.0, "high": 6.0})
        return Feature(name, x.height, x.width, x.moments.through_relu(6.0))

    def add(self, a: Feature, b: Feature) -> Feature:
        """a + b."""
        return Feature(self._graph.node("Add", [a.name, b.name]), a.height, a.width, a.moments.added_to(b.moments))

    def concat(self, a: Feature, b: Feature) -> Feature:
        """a and b side by side along the channels."""
        name = self._graph.node("Concat", [a.name, b.name], axis=1)
        return Feature(name, a.height, a.width, a.moments.followed_by(b.moments))

    def max_pool(self, x: Feature, kernel: int, stride: int, *, pad: int = 0, round_up: bool = False) -> Feature:
        """A square MaxPool; `round_up` keeps a last, partial window (Caffe's rule)."""
        height, width = _window(x, kernel, stride, pad, round_up=round_up)
        attributes = {"kernel_shape": [kernel] * 2, "pads": [pad] * 4, "strides": [stride] * 2}
        name = self._graph.node("MaxPool", [x.name], ceil_mode=int(round_up), **attributes)
        return Feature(name, height, width, x.moments.through_max_pool())

    def global_average_pool(self, x: Feature) -> Feature:
        """The mean over all pixels, which keeps a channel's mean; its variance is that of fully correlated pixels."""
        return Feature(self._graph.node("GlobalAveragePool", [x.name]), 1, 1, x.moments)

    def subsample(self, x: Feature, channels: int) -> Feature:
        """Every second pixel both ways, and zero channels behind x's own: the shortcut that has no parameters."""
        slices = {"starts": [0, 0], "ends": [x.height, x.width], "axes": [2, 3], "steps": [2, 2]}
        name = self._graph.node("Slice", [x.name], slices)
        added = channels - x.channels
        name = self._graph.node("Pad", [name], {"pads": [0, 0, 0, 0, 0, added, 0, 0]})
        none = Moments(np.zeros(added), np.zeros(added))
        return Feature(name, -(-x.height // 2), -(-x.width // 2), x.moments.followed_by(none))

    def flatten(self, x: Feature) -> Feature:
        """(N, C, H, W) -> (N, C * H * W)."""
        return Feature(self._graph.node("Flatten", [x.name], axis=1), 1, 1, x.moments.repeated(x.height * x.width))

    def finish(self, name: str, logits: Feature, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The model; `logits` is the last layer added."""
        return self._graph.finish(name, logits.channels, metadata)

    def _gemm(self, x: Feature, outputs: int, bias_for: Callable[[Moments, np.random.Generator], Array]) -> Feature:
        rng = self._next_rng()
        weight = self._weight((outputs, x.channels), rng, sparse=self._recipe.fully_connected)
        moments = x.moments.through_linear(weight)
        bias = bias_for(moments, rng)
        self.cost.macs += weight.size
        self.cost.parameters += bias.size
        name = self._graph.node("Gemm", [x.name], {"weight": weight, "bias": bias}, transB=1)
        return Feature(name, 1, 1, moments.through_affine(np.ones(outputs), bias))

    def _next_rng(self) -> np.random.Generator:
        rng = np.random.default_rng([self._recipe.seed, self._layers])
        self._layers += 1
        return rng

    def _weight(self, shape: tuple[int, ...], rng: np.random.Generator, *, sparse: bool) -> NDArray[np.float32]:
        sparsity = self._recipe.sparsity if sparse else 0.0
        weight = he_weight(shape, rng, zeros=sparsity)
        if sparsity > 0:
            # A stream of its own: the mask must not change the numbers drawn after it.
            zeros = zero_mask(shape, sparsity, self._recipe.pattern, rng.spawn(1)[0])
            weight[zeros] = 0
            self.cost.zeros += int(np.count_nonzero(zeros))
        self.cost.weights += weight.size
        self.cost.parameters += weight.size
        return weight

    def _convolve(
        self,
        x: str,
        weight: NDArray[np.float32],
        geometry: Mapping[str, int | Sequence[int]],
        moments: Moments,
        rng: np.random.Generator,
    ) -> tuple[str, Moments]:
        """The Conv and what normalises it, given the `moments` of the bare Conv; the result's name and moments."""
        channels = weight.shape[0]
        if not self._normalised:
            bias = _small_bias(moments, rng)
            self.cost.parameters += channels
            name = self._graph.node("Conv", [x], {"weight": weight, "bias": bias}, **geometry)
            return name, moments.through_affine(np.ones(channels), bias)
        norm = _BatchNorm.near(moments, rng)
        factor, offset = norm.as_affine()
        if self._recipe.batchnorm:
            self.cost.parameters += 2 * channels
            name = self._graph.node("Conv", [x], {"weight": weight}, **geometry)
            name = self._graph.node("BatchNormalization", [name], vars(norm), epsilon=_EPSILON)
        else:
            self.cost.parameters += channels
            folded = {"weight": weight * factor.reshape(-1, 1, 1, 1), "bias": offset}
            name = self._graph.node("Conv", [x], folded, **geometry)
        return name, moments.through_affine(factor, offset)


@dataclass(frozen=True)
class _BatchNorm:
    """The four arrays (C,) of a BatchNormalization, in the operator's order."""

    scale: Array
    shift: Array
    mean: Array
    variance: Array

    @classmethod
    def near(cls, moments: Moments, rng: np.random.Generator) -> _BatchNorm:
        """Statistics close to `moments`, as a running average is, with a scale and shift as training leaves them."""
        channels = moments.mean.size
        # A channel whose weights are all zero has no variance; dividing by it would blow up what is left of it.
        variance = np.maximum(moments.variance, 1e-3 * moments.variance.mean())
        return cls(
            scale=rng.uniform(0.5, 1.5, channels),
            shift=rng.normal(0, 0.2, channels),
            mean=moments.mean + 0.1 * np.sqrt(variance) * rng.standard_normal(channels),
            variance=variance * rng.uniform(0.8, 1.25, channels),
        )

    def as_affine(self) -> tuple[Array, Array]:
        """Factor and offset (C,) of the same map, `factor * x + offset`."""
        factor = self.scale / np.sqrt(self.variance + _EPSILON)
        return factor, self.shift - factor * self.mean


def _small_bias(moments: Moments, rng: np.random.Generator) -> Array:
    """A bias (C,) of a tenth of the signal it is added to."""
    level = np.sqrt(np.mean(moments.mean**2 + moments.variance))
    return 0.1 * level * rng.standard_normal(moments.mean.size)


def _window(x: Feature, kernel: int, stride: int, pad: int, *, round_up: bool = False) -> tuple[int, int]:
    """Height and width after a square window has moved over `x`."""
    sizes = []
    for size in (x.height, x.width):
        room = size + 2 * pad - kernel
        if room < 0:
            raise BuildError(
                f"the image is too small: a window of {kernel} meets a map of {size}; choose a larger --image-size"
            )
        steps = -(-room // stride) if round_up else room // stride
        sizes.append(steps + 1)
    return sizes[0], sizes[1]
