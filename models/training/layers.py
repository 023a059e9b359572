"""The layers of a small network, forward and backward, for one NumPy process.

Maps are (N, H, W, C), float32: a Conv is then one matrix product over unrolled windows. A layer keeps what its
backward pass needs from its last forward pass; `backward` turns dLoss/dOutput into dLoss/dInput and fills the `grad`
of its parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(eq=False)
class Parameter:
    """A trained array, and the loss's gradient with respect to it after a backward pass."""

    value: Array
    grad: Array = field(init=False)

    def __post_init__(self) -> None:
        self.grad = np.zeros_like(self.value)


class Layer(Protocol):
    """One step of a network."""

    def parameters(self) -> list[Parameter]:
        """What training changes."""
        ...

    def forward(self, x: Array, *, training: bool) -> Array:
        """The layer's output."""
        ...

    def backward(self, grad: Array) -> Array:
        """dLoss/dInput from dLoss/dOutput of the last forward pass."""
        ...


class Stateless:
    """A layer with nothing to train."""

    def parameters(self) -> list[Parameter]:
        """None."""
        return []


class Conv:
    """A square Conv of odd kernel and stride 1, padded to keep the size, without bias.

    The weight is (k * k * C_in, C_out), rows in the order of kernel row, kernel column, input channel.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, rng: np.random.Generator) -> None:
        fan_in = kernel * kernel * c_in
        draw = rng.standard_normal((fan_in, c_out), dtype=np.float32)
        self.weight = Parameter(draw * np.float32(math.sqrt(2 / fan_in)))
        self.kernel = kernel
        self.channels = c_in

    def parameters(self) -> list[Parameter]:
        """The weight."""
        return [self.weight]

    def forward(self, x: Array, *, training: bool) -> Array:
        """(N, H, W, C_in) -> (N, H, W, C_out)."""
        self._windows = _unroll(x, self.kernel)
        return (self._windows @ self.weight.value).reshape(*x.shape[:3], -1)

    def backward(self, grad: Array) -> Array:
        """The input's gradient is a Conv of the output's with the kernel turned by 180 degrees."""
        self.weight.grad[...] = self._windows.T @ grad.reshape(-1, grad.shape[3])
        taps = self.weight.value.reshape(-1, self.channels, grad.shape[3])[::-1]
        turned = taps.transpose(0, 2, 1).reshape(-1, self.channels)
        return (_unroll(grad, self.kernel) @ turned).reshape(*grad.shape[:3], -1)


class BatchNorm:
    """Normalises each channel over images and pixels; at inference by running statistics."""

    momentum = 0.9
    epsilon = 1e-5

    def __init__(self, channels: int) -> None:
        self.scale = Parameter(np.ones(channels, dtype=np.float32))
        self.shift = Parameter(np.zeros(channels, dtype=np.float32))
        self.mean = np.zeros(channels, dtype=np.float32)
        self.variance = np.ones(channels, dtype=np.float32)

    def parameters(self) -> list[Parameter]:
        """Scale and shift."""
        return [self.scale, self.shift]

    def forward(self, x: Array, *, training: bool) -> Array:
        """(N, H, W, C) of any scale -> the same shape, scaled and shifted."""
        if training:
            mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
            self.mean = self.momentum * self.mean + (1 - self.momentum) * mean
            self.variance = self.momentum * self.variance + (1 - self.momentum) * variance
        else:
            mean, variance = self.mean, self.variance
        self._deviation = np.sqrt(variance + np.float32(self.epsilon))
        self._normalised = (x - mean) / self._deviation
        y: Array = self._normalised * self.scale.value + self.shift.value
        return y

    def backward(self, grad: Array) -> Array:
        """Batch mean and variance depend on the input too: their share is what the two means take away."""
        x = self._normalised
        self.shift.grad[...] = grad.sum(axis=(0, 1, 2))
        self.scale.grad[...] = (grad * x).sum(axis=(0, 1, 2))
        count = x.size // x.shape[3]
        centred = grad - self.shift.grad / count - x * (self.scale.grad / count)
        to_input: Array = centred * (self.scale.value / self._deviation)
        return to_input


class Relu(Stateless):
    """max(x, 0)."""

    def forward(self, x: Array, *, training: bool) -> Array:
        """Any shape."""
        self._positive = x > 0
        return x * self._positive

    def backward(self, grad: Array) -> Array:
        """Passes where the input was positive."""
        return grad * self._positive


class MaxPool(Stateless):
    """The largest of each 2x2 window, stride 2; height and width are even."""

    def forward(self, x: Array, *, training: bool) -> Array:
        """(N, H, W, C) -> (N, H/2, W/2, C)."""
        n, height, width, channels = x.shape
        windows = x.reshape(n, height // 2, 2, width // 2, 2, channels)
        best: Array = windows.max(axis=(2, 4), keepdims=True)
        chosen = windows == best
        # Equal pixels share the gradient, so that it is neither lost nor counted twice.
        self._share = chosen / chosen.sum(axis=(2, 4), keepdims=True, dtype=np.float32)
        return best[:, :, 0, :, 0]

    def backward(self, grad: Array) -> Array:
        """To the largest of each window."""
        n, height, width, channels = grad.shape
        spread: Array = self._share * grad[:, :, None, :, None]
        return spread.reshape(n, 2 * height, 2 * width, channels)


class GlobalAveragePool(Stateless):
    """The mean over all pixels."""

    def forward(self, x: Array, *, training: bool) -> Array:
        """(N, H, W, C) -> (N, C)."""
        self._shape = x.shape
        mean: Array = x.mean(axis=(1, 2))
        return mean

    def backward(self, grad: Array) -> Array:
        """An equal share to each pixel."""
        _, height, width, _ = self._shape
        return np.broadcast_to(grad[:, None, None] / np.float32(height * width), self._shape)


class Dropout(Stateless):
    """Sets a share of the numbers to zero while training, and scales the others up; nothing at inference."""

    def __init__(self, share: float, rng: np.random.Generator) -> None:
        self.share = share
        self._rng = rng

    def forward(self, x: Array, *, training: bool) -> Array:
        """Any shape."""
        if not training:
            return x
        kept = self._rng.random(x.shape, dtype=np.float32) >= self.share
        self._factor = kept.astype(np.float32) / np.float32(1 - self.share)
        return x * self._factor

    def backward(self, grad: Array) -> Array:
        """Through what was kept."""
        return grad * self._factor


class Gemm:
    """A fully connected layer: weight (C_in, C_out), bias (C_out,)."""

    def __init__(self, c_in: int, c_out: int, rng: np.random.Generator) -> None:
        draw = rng.standard_normal((c_in, c_out), dtype=np.float32)
        self.weight = Parameter(draw * np.float32(math.sqrt(1 / c_in)))
        self.bias = Parameter(np.zeros(c_out, dtype=np.float32))

    def parameters(self) -> list[Parameter]:
        """Weight and bias."""
        return [self.weight, self.bias]

    def forward(self, x: Array, *, training: bool) -> Array:
        """(N, C_in) -> (N, C_out)."""
        self._x = x
        return x @ self.weight.value + self.bias.value

    def backward(self, grad: Array) -> Array:
        """The two matrix products."""
        self.weight.grad[...] = self._x.T @ grad
        self.bias.grad[...] = grad.sum(axis=0)
        return grad @ self.weight.value.T


def _unroll(x: Array, kernel: int) -> Array:
    """(N, H, W, C) -> (N * H * W, k * k * C): each pixel's window as a row, zeros beyond the border."""
    border = kernel // 2
    padded = np.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    windows = sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kernel * kernel * x.shape[3])
