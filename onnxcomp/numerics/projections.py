"""Sets of weights with zeros, as projections: from a weight (C_out, C_in / group, k...) to the nearest in the set.

What is kept is largest in the L2 norm; counts are exact and ties go the same way each time.
"""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.numerics.admm import Projection

WINDOW = 16  # input channels of an n:16 window


def zeros(sparsity: float) -> Projection:
    """Zeros anywhere: the share `sparsity` of the weight, 0 to 1, rounded to whole entries."""

    def project(weight: NDArray[Any]) -> NDArray[Any]:
        return np.where(_largest(np.abs(weight), sparsity), weight, 0)

    return _checked(sparsity, project)


def blocks(sparsity: float, outputs: int, inputs: int = 1) -> Projection:
    """Zeros in blocks of `outputs` x `inputs` neighbouring channels at one place of the kernel.

    ValueError for a weight whose channels do not divide into blocks.
    """

    def project(weight: NDArray[Any]) -> NDArray[Any]:
        C_out, C_in = weight.shape[:2]
        if C_out % outputs or C_in % inputs:
            raise ValueError(f"a weight {list(weight.shape)} does not divide into blocks of {outputs} x {inputs}")
        cut = weight.reshape(C_out // outputs, outputs, C_in // inputs, inputs, -1)
        kept = _largest(np.square(cut).sum(axis=(1, 3), keepdims=True), sparsity)
        return np.where(kept, cut, 0).reshape(weight.shape)

    return _checked(sparsity, project)


def windows(kept: int, window: int = WINDOW) -> Projection:
    """At most `kept` nonzeros in each `window` of neighbouring input channels of an output, at one place of the kernel.

    ValueError for a weight whose input channels do not divide into windows.
    """
    if not 0 <= kept <= window:
        raise ValueError(f"{kept} of {window} cannot be kept")

    def project(weight: NDArray[Any]) -> NDArray[Any]:
        C_out, C_in = weight.shape[:2]
        if C_in % window:
            raise ValueError(f"{C_in} input channels do not divide into windows of {window}")
        cut = np.moveaxis(weight.reshape(C_out, C_in // window, window, -1), 2, -1).copy()
        if kept < window:
            smallest = np.abs(cut).argpartition(window - kept - 1)[..., : window - kept]
            np.put_along_axis(cut, smallest, 0, axis=-1)
        return np.moveaxis(cut, -1, 2).reshape(weight.shape)

    return project


def output_channels(sparsity: float) -> Projection:
    """Whole output channels."""
    return _channels(sparsity, axis=0)


def input_channels(sparsity: float) -> Projection:
    """Whole input channels, the same ones of every group."""
    return _channels(sparsity, axis=1)


def _channels(sparsity: float, axis: int) -> Projection:
    def project(weight: NDArray[Any]) -> NDArray[Any]:
        others = tuple(i for i in range(weight.ndim) if i != axis)
        kept = _largest(np.square(weight).sum(axis=others, keepdims=True), sparsity)
        return np.where(kept, weight, 0)

    return _checked(sparsity, project)


def _largest(scores: NDArray[Any], sparsity: float) -> NDArray[np.bool_]:
    """Where `scores` are largest: True for all but the share `sparsity` of them."""
    dropped = round(sparsity * scores.size)
    kept = np.ones(prod(scores.shape), np.bool_)
    if dropped == scores.size:
        kept[:] = False
    elif dropped:
        kept[np.argpartition(scores.ravel(), dropped)[:dropped]] = False
    return kept.reshape(scores.shape)


def _checked(sparsity: float, project: Projection) -> Projection:
    if not 0 <= sparsity <= 1:
        raise ValueError(f"a sparsity of {sparsity} is not a share between 0 and 1")
    return project
