"""A few made-up images on their way through the network, so that each layer's statistics are those it will meet.

Arrays are (n, C, H, W) float32, or (n, C) behind a Flatten.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

Sample = NDArray[np.float32]
_IMAGES = 4


def images(channels: int, size: int, rng: np.random.Generator) -> Sample:
    """Noise of every scale, as pictures have, of mean 0 and variance 1 per channel."""
    total = np.zeros((_IMAGES, channels, size, size), dtype=np.float32)
    scale = 1
    while scale <= size:
        cells = -(-size // scale)
        noise = rng.standard_normal((_IMAGES, channels, cells, cells), dtype=np.float32)
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
    height, width = ((size - kernel) // stride + 1 for size in padded.shape[2:])
    total = np.zeros((n, groups, c_out // groups, height * width), dtype=np.float32)
    for row, column in product(range(kernel), repeat=2):
        seen = padded[:, :, row::stride, column::stride][:, :, :height, :width]
        factor = weight[:, :, row, column].reshape(groups, c_out // groups, channels // groups)
        total += factor @ seen.reshape(n, groups, channels // groups, height * width)
    return total.reshape(n, c_out, height, width)


def max_pool(x: Sample, kernel: int, stride: int, pad: int, height: int, width: int) -> Sample:
    """MaxPool to `height` by `width`, the last windows partial where x ends."""
    below = (height - 1) * stride + kernel - pad - x.shape[2]
    right = (width - 1) * stride + kernel - pad - x.shape[3]
    padding = ((0, 0), (0, 0), (pad, max(below, 0)), (pad, max(right, 0)))
    padded = np.pad(x, padding, constant_values=-np.inf)
    best = np.full((*x.shape[:2], height, width), -np.inf, dtype=np.float32)
    for row, column in product(range(kernel), repeat=2):
        np.maximum(best, padded[:, :, row::stride, column::stride][:, :, :height, :width], out=best)
    return best
