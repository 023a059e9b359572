"""Weights in blocks of one magnitude, models of one node that has one, and what float32 rounding allows."""

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from onnx import ModelProto, helper

from onnxcomp.formats import unified, unified_conv
from onnxcomp.formats.functions import DOMAIN, DOMAIN_VERSION
from onnxcomp.formats.unified import Block, Unified, signed_levels
from onnxcomp.formats.unified_body import INPUTS
from tests.runtime.sparse_models import OPSET, Array, Case, random_case, rounding, single_node_model


def random_weight(
    shape: tuple[int, ...],
    block: Block,
    levels: tuple[float, ...] = (1.0,),
    zero: float = 0,
    free: float = 0,
    seed: int = 0,
) -> Array:
    """A weight (C_out, C_in / group, k...) of blocks (output channels, input channels) that `block` divides.

    Shares `zero` and `free` of the blocks are zero and normally distributed; the others have a random level for each
    weight and a scale that float16 holds.
    """
    rng = np.random.default_rng(seed)
    rows, columns, taps = shape[0] // block[0], shape[1] // block[1], prod(shape[2:])
    count, size = rows * columns * taps, block[0] * block[1]
    scales = rng.uniform(0.5, 2, (count, 1)).astype(np.float16).astype(np.float32)
    blocks = rng.choice(signed_levels(levels), (count, size)) * scales
    kind = rng.random(count)
    blocks[kind < zero] = 0
    normal = rng.standard_normal((count, size), np.float32)
    blocks[kind > 1 - free] = normal[kind > 1 - free]
    apart = blocks.reshape(rows, columns, taps, *block)
    return np.ascontiguousarray(apart.transpose(0, 3, 1, 4, 2).reshape(shape))


@dataclass
class UnifiedCase:
    """One convolution, and how its weight is stored."""

    conv: Case
    stored: Unified


def unified_case(
    weight_shape: tuple[int, ...],
    x_shape: tuple[int, ...],
    block: Block = (4, 4),
    levels: tuple[float, ...] = (1.0,),
    zero: float = 0.3,
    free: float = 0.1,
    seed: int = 0,
    **attributes: Any,
) -> UnifiedCase:
    """A convolution with random data and a weight of random_weight."""
    conv = random_case(weight_shape, x_shape, 1, seed, **attributes)
    conv.weight = random_weight(weight_shape, block, levels, zero, free, seed)
    return UnifiedCase(conv, unified.encode(conv.weight, block, levels))


def unified_model(case: UnifiedCase) -> ModelProto:
    """The case as a UnifiedConv node with its function body."""
    conv = case.conv
    inputs = ["X", *INPUTS, "B", *(["Z"] if conv.z is not None else [])]
    shape = conv.weight.shape
    node = unified_conv.node(conv.epilogue, inputs, "Y", shape, case.stored, name="the_node", **conv.attributes)
    arrays = {name: getattr(case.stored, name) for name in INPUTS}
    model = single_node_model(conv, [node], arrays | {"B": conv.bias})
    model.functions.append(unified_conv.function(conv.epilogue, OPSET))
    model.opset_import.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
    return model


def unified_tolerance(case: UnifiedCase) -> Array:
    """The largest difference between two ways to sum the case's products: one by one, or with sums of four channels.

    Weights of four channels at a tap become products with sums of all four whose magnitudes add up to the norm of the
    four at most, so this is what additions round by; three more of them form a sum, and a product's weight is rounded.
    """
    weight = case.conv.weight
    padding = [(0, 0), (0, -weight.shape[1] % 4), *[(0, 0)] * (weight.ndim - 2)]
    quads = np.pad(weight, padding).reshape(weight.shape[0], -1, 4, *weight.shape[2:])
    norms = np.sqrt((quads**2).sum(axis=2)).repeat(4, axis=1)[:, : weight.shape[1]]
    return rounding(replace(case.conv, weight=norms), int(np.prod(weight.shape[1:])) + 6)
