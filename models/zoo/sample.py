"""A few made-up images on their way through the network, so that each layer's statistics are those it will meet.

Arrays are (n, C, H, W), or (n, C) behind a Flatten. They are float64, so that what the order of a sum changes, which is
another with each library, processor and number of threads, stays far below the float32 that a network is stored in.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

Sample = NDArray[np.float64]
# Four images of 224 pixels give the last map of a deep network, 7 by 7, about 200 numbers a channel. Smaller images
# must be more, and 16 are enough where a map is down to a single pixel.
_PIXELS, _FEWEST, _MOST = 4 * 224 * 224, 4, 16


def images(channels: int, size: int, rng: np.random.Generator) -> Sample:
    """Noise of every scale, as pictures have, of mean 0 and variance 1 per channel."""
    count = min(max(_PIXELS // size**2, _FEWEST), _MOST)
    total = np.zeros((count, channels, size, size))
    scale = 1
    while scale <= size:
        cells = -(-size // scale)
        noise = rng.standard_normal((count, channels, cells, cells))
        total += noise.repeat(scale, axis=2).repeat(scale, axis=3)[:, :, :size, :size]
        scale *= 2
    centred = total - total.mean(axis=(0, 2, 3), keepdims=True)
    normalised: Sample = centred / centred.std(axis=(0, 2, 3), keepdims=True)
    return normalised


def conv(x: Sample, weight: NDArray[np.float32], stride: int, pad: int, groups: int) -> Sample:
    """Conv of `weight` (C_out, C_in/groups, k, k): one matrix product for each of the kernel's positions."""
    n, channels = x.shape[:2]
    c_out, kernel = weight.shape[0], weight.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    w = weight.astype(np.float64)
    height, width = ((size - kernel) // stride + 1 for size in padded.shape[2:])
    total = np.zeros((n, groups, c_out // groups, height * width))
    for row, column in product(range(kernel), repeat=2):
        seen = padded[:, :, row::stride, column::stride][:, :, :height, :width]
        factor = w[:, :, row, column].reshape(groups, c_out // groups, channels // groups)
        total += factor @ seen.reshape(n, groups, channels // groups, height * width)
    return total.reshape(n, c_out, height, width)


def gemm(x: Sample, weight: NDArray[np.float32]) -> Sample:
    """x (n, C_in) by `weight` (C_out, C_in)."""
    y: Sample = x @ weight.astype(np.float64).T
    return y


def max_pool(x: Sample, kernel: int, stride: int, pad: int, height: int, width: int) -> Sample:
    """MaxPool to `height` by `width`, the last windows partial where x ends."""
    below = (height - 1) * stride + kernel - pad - x.shape[2]
    right = (width - 1) * stride + kernel - pad - x.shape[3]
    padding = ((0, 0), (0, 0), (pad, max(below, 0)), (pad, max(right, 0)))
    padded = np.pad(x, padding, constant_values=-np.inf)
    best = np.full((*x.shape[:2], height, width), -np.inf)
    for row, column in product(range(kernel), repeat=2):
        np.maximum(best, padded[:, :, row::stride, column::stride][:, :, :height, :width], out=best)
    return best
