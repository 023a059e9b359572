"""A Conv whose kernels are combinations of a few shared ones, in standard operators (Li et al., ICML 2020, section 3).

    W[o, i] = sum over b of C[o, i, b] B_b          C (C_out, C_in / group, d), B (d, k...)

    basis first         Y = sum over b of pointwise Conv by C_b ( depthwise Conv of X by B_b )
    coefficient first   Y = sum over b of depthwise Conv by B_b ( pointwise Conv of X by C_b )
    merged              one Conv of W

A basis is a branch of its own: ONNX Runtime keeps depthwise convolutions in its blocked layout only where every channel
has one output, and adds a branch to the sum inside the convolution that ends it. (Against one convolution over the d
maps laid side by side: 1.1x faster, for nothing is copied.) The second form does its pointwise work on input pixels,
the first on output pixels, so strides speak for the first and C_out < C_in for the second.
"""

import numpy as np
from numpy.typing import NDArray

from onnxcomp.factored.target import Steps, Target
from onnxcomp.fragment import Fragment
from onnxcomp.numerics.shared_basis import reconstruct


def basis_first(target: Target, coefficients: NDArray[np.floating], bases: NDArray[np.floating]) -> Fragment:
    """Depthwise convolutions, then pointwise ones. `coefficients` (C_out, C_in / group, d), `bases` (d, k...)."""
    group = target.convolution.group
    steps, total = Steps(target.fragment), ""
    for b, basis in enumerate(bases):
        kernel = _depthwise(basis, target.convolution.weight.shape[1] * group)
        maps = steps.conv(f"basis_{b}", steps.x, kernel, target.geometry, group=len(kernel))
        bias = target.convolution.bias if b == 0 else None
        part = steps.conv(f"coefficients_{b}", maps, _pointwise(coefficients, b, bases), group=group, bias=bias)
        total = steps.add(f"sum_{b}", "Add", [part, total]) if total else part
    return steps.fragment()


def coefficient_first(target: Target, coefficients: NDArray[np.floating], bases: NDArray[np.floating]) -> Fragment:
    """Pointwise convolutions, then depthwise ones. `coefficients` (C_out, C_in / group, d), `bases` (d, k...)."""
    steps, total = Steps(target.fragment), ""
    for b, basis in enumerate(bases):
        pointwise = _pointwise(coefficients, b, bases)
        maps = steps.conv(f"coefficients_{b}", steps.x, pointwise, group=target.convolution.group)
        bias = target.convolution.bias if b == 0 else None
        kernel = _depthwise(basis, len(pointwise))
        part = steps.conv(f"basis_{b}", maps, kernel, target.geometry, group=len(kernel), bias=bias)
        total = steps.add(f"sum_{b}", "Add", [part, total]) if total else part
    return steps.fragment()


def merged(target: Target, coefficients: NDArray[np.floating], bases: NDArray[np.floating]) -> Fragment:
    """The Conv as it was, but for its weight. `coefficients` (C_out, C_in / group, d), `bases` (d, k...)."""
    convolution, steps = target.convolution, Steps(target.fragment)
    weight = reconstruct(coefficients, bases)
    steps.conv("merged", steps.x, weight, target.geometry, group=convolution.group, bias=convolution.bias)
    return steps.fragment()


def _pointwise(coefficients: NDArray[np.floating], b: int, bases: NDArray[np.floating]) -> NDArray[np.floating]:
    """C_b as the weight of a Conv (C_out, C_in / group, 1...)."""
    chosen: NDArray[np.floating] = coefficients[:, :, b]
    return chosen.reshape(*chosen.shape, *(1,) * (bases.ndim - 1))


def _depthwise(basis: NDArray[np.floating], channels: int) -> NDArray[np.floating]:
    """The same kernel for every channel, as the weight of a Conv (channels, 1, k...)."""
    return np.broadcast_to(basis, (channels, 1, *basis.shape))
