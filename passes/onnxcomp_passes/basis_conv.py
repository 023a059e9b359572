"""A Conv in shared bases with sparse coefficients, and what follows it, as one operator (formats/basis_conv.py)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.context import Context
from onnxcomp.formats import basis_conv
from onnxcomp.formats.functions import MIN_OPSET
from onnxcomp.formats.sparse_conv import CONV_ATTRIBUTES
from onnxcomp.formats.sparse_conv import Epilogue as Form
from onnxcomp.fragment import Fragment, unique
from onnxcomp_passes.conv_sites import ConvSite
from onnxcomp_passes.epilogue import Epilogue


def fused(
    site: ConvSite, context: Context, coefficients: NDArray[np.floating], bases: NDArray[np.floating]
) -> tuple[Fragment, int]:
    """The operator with C (C_out, C_in / group, d) and B (d, k...), and how many of the fused nodes it takes in.

    A BatchNormalization between the Conv and the rest keeps the rest outside.
    """
    epilogue = Epilogue() if site.normalisation else site.epilogue
    replaced = (*site.nodes, *epilogue.nodes)
    before = Fragment.of(context.model, replaced)
    conv, convolution = before.nodes[0], site.convolution
    stored = basis_conv.encode(coefficients.astype(np.float32))
    values = (bases.astype(np.float32), stored.mask, stored.values, convolution.bias_or_zeros)
    taken = {*before.inputs, *before.constants}
    names = (unique(f"{conv.input[1]}_{role}", taken) for role in ("bases", "mask", "values", "bias"))
    constants: dict[str, NDArray[Any]] = dict(zip(names, values, strict=True))
    form = Form(bool(epilogue.residual), epilogue.activation)
    node = basis_conv.node(
        form,
        [conv.input[0], *constants, *([epilogue.residual] if epilogue.residual else [])],
        before.outputs[0],
        coefficients.shape,
        conv.name,
        **{key: value for key, value in convolution.attributes.items() if key in CONV_ATTRIBUTES},
        **epilogue.attributes,
    )
    body = basis_conv.function(form, max(context.model.opset, MIN_OPSET))
    return Fragment((node,), constants, before.inputs, before.outputs, (body,)), len(replaced)
