"""Models of one BasisConv node, and what float32 rounding allows between them and their dense counterparts."""

from dataclasses import dataclass, replace

import numpy as np
from onnx import ModelProto, helper

from onnxcomp.formats import basis_conv
from onnxcomp.formats.functions import DOMAIN, DOMAIN_VERSION
from tests.runtime.sparse_models import OPSET, Array, Case, rounding, single_node_model


@dataclass
class BasisCase:
    """One convolution: `conv.weight` is `coefficients` (C_out, C_in / group, d) times `bases` (d, (kh,) kw)."""

    conv: Case
    coefficients: Array
    bases: Array


def basis_case(conv: Case, bases: int, seed: int = 0) -> BasisCase:
    """`conv` with another weight of the same shape: random bases, as many zero coefficients as its share of zeros."""
    rng = np.random.default_rng(seed)
    density = np.count_nonzero(conv.weight) / conv.weight.size
    shape = (*conv.weight.shape[:2], bases)
    coefficients = (rng.standard_normal(shape) * (rng.random(shape) < density)).astype(np.float32)
    kernels = rng.standard_normal((bases, *conv.weight.shape[2:]), np.float32)
    return BasisCase(replace(conv, weight=np.tensordot(coefficients, kernels, 1)), coefficients, kernels)


def basis_model(case: BasisCase) -> ModelProto:
    """The case as a BasisConv node with its function body."""
    stored = basis_conv.encode(case.coefficients)
    constants = {"bases": case.bases, "mask": stored.mask, "values": stored.values, "B": case.conv.bias}
    epilogue = case.conv.epilogue
    node = basis_conv.node(
        epilogue,
        ["X", *constants, *(["Z"] if case.conv.z is not None else [])],
        "Y",
        case.coefficients.shape,
        name="the_node",
        **case.conv.attributes,
    )
    model = single_node_model(case.conv, [node], constants)
    model.functions.append(basis_conv.function(epilogue, OPSET))
    model.opset_import.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
    return model


def basis_tolerance(case: BasisCase) -> Array:
    """The largest difference between two ways to sum the case's products, whichever factors are multiplied first.

    A term is coefficient * basis * x. It takes part in the additions of one basis' taps, of all channels' bases, or of
    a weight's bases and all of its channels' taps, and is rounded as a product twice.
    """
    channels, bases = case.coefficients.shape[1:]
    taps = case.bases[0].size
    weight = np.tensordot(np.abs(case.coefficients), np.abs(case.bases), 1)
    additions = max(taps + channels * bases, bases + channels * taps) + 4
    return rounding(replace(case.conv, weight=weight), additions)
