"""A layer in blocks of one magnitude, and what follows it, as one operator (formats/unified_conv.py and _gemm.py)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.context import Context
from onnxcomp.formats import unified_conv, unified_gemm
from onnxcomp.formats.functions import MIN_OPSET
from onnxcomp.formats.sparse_conv import CONV_ATTRIBUTES
from onnxcomp.formats.sparse_conv import Epilogue as Form
from onnxcomp.formats.unified import Unified
from onnxcomp.fragment import Fragment, unique
from onnxcomp_passes.conv_sites import ConvSite
from onnxcomp_passes.epilogue import Epilogue
from onnxcomp_passes.factor_sites import FactorSite
from onnxcomp_passes.linear_sites import LinearSite

_ROLES = ("kinds", "scales", "digits", "values")


def unified_layer(site: FactorSite, context: Context, stored: Unified) -> tuple[Fragment, int]:
    """The operator with the weight `stored` and the site's bias, and how many of the fused nodes it takes in."""
    if isinstance(site, ConvSite):
        return _convolution(site, context, stored)
    assert isinstance(site, LinearSite), "there is no third kind"
    return _product(site, context, stored)


def _convolution(site: ConvSite, context: Context, stored: Unified) -> tuple[Fragment, int]:
    """A BatchNormalization between the Conv and the rest keeps the rest outside."""
    epilogue = Epilogue() if site.normalisation else site.epilogue
    replaced = (*site.nodes, *epilogue.nodes)
    before = Fragment.of(context.model, replaced)
    conv, convolution = before.nodes[0], site.convolution
    constants = _constants(before, conv.input[1], stored, convolution.bias_or_zeros)
    form = Form(bool(epilogue.residual), epilogue.activation)
    node = unified_conv.node(
        form,
        [conv.input[0], *constants, *([epilogue.residual] if epilogue.residual else [])],
        before.outputs[0],
        convolution.weight.shape,
        stored,
        conv.name,
        **{key: value for key, value in convolution.attributes.items() if key in CONV_ATTRIBUTES},
        **epilogue.attributes,
    )
    body = unified_conv.function(form, max(context.model.opset, MIN_OPSET))
    return Fragment((node,), constants, before.inputs, before.outputs, (body,)), len(replaced)


def _product(site: LinearSite, context: Context, stored: Unified) -> tuple[Fragment, int]:
    before, linear = Fragment.of(context.model, site.fused), site.linear
    x, weight = before.nodes[0].input[:2]
    constants = _constants(before, weight, stored, np.ascontiguousarray(linear.bias))
    form = unified_gemm.Form(linear.any_rank and len(context.shapes.get(x, ())) != 2, site.epilogue.activation)
    outputs, columns = linear.weight.shape
    node = unified_gemm.node(
        form,
        [x, *constants],
        before.outputs[0],
        (outputs, columns),
        stored,
        before.nodes[0].name,
        **site.epilogue.attributes,
    )
    body = unified_gemm.function(form, max(context.model.opset, MIN_OPSET))
    return Fragment((node,), constants, before.inputs, before.outputs, (body,)), len(site.fused)


def constants_of(stored: Unified, base: str) -> dict[str, NDArray[Any]]:
    """The format's arrays by name, in the order of an operator's inputs."""
    return {f"{base}_{role}": getattr(stored, role) for role in _ROLES}


def in_words(stored: Unified, weights: int) -> dict[str, Any]:
    """What reports say of a weight of so many numbers, `stored`: as unify's options, shares of its blocks."""
    blocks = weights // (stored.block[0] * stored.block[1])
    unified = stored.scales.size
    zero = blocks - unified - stored.values.size // (stored.block[0] * stored.block[1])
    return {
        "block": "x".join(map(str, stored.block)),
        "levels": levels_in_words(stored.levels),
        "unified": round(unified / blocks, 4),
        "pruned": round(zero / blocks, 4),
    }


def levels_in_words(levels: tuple[float, ...]) -> str:
    """As the option `levels` is written: 1:0.5:0."""
    return ":".join(f"{level:g}" for level in levels)


def _constants(before: Fragment, base: str, stored: Unified, bias: NDArray[np.floating]) -> dict[str, NDArray[Any]]:
    """The arrays and the bias under names that `before` does not have."""
    taken = {*before.inputs, *before.constants}
    values = {**constants_of(stored, base), f"{base}_bias": bias}
    return {unique(name, taken): value for name, value in values.items()}
