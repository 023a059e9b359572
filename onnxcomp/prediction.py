"""What a layer will take, before it is measured."""

from collections.abc import Mapping
from math import prod

import numpy as np
from onnx import NodeProto, helper

from onnxcomp.cost.host_profile import HostProfile
from onnxcomp.cost.skimcaffe import Work
from onnxcomp.formats import basis_conv, sparse_conv, unified_conv
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.fragment import Fragment

_SUMMED = 4  # input channels under each pattern of signs: one product serves so many weights of one magnitude
_PLUS_AND_MINUS = 2  # levels of a block that has one magnitude


def predicted_ms(
    profile: HostProfile | None, before: Fragment, after: Fragment, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[float, float] | None:
    """Milliseconds of the Conv that `before` begins with, and of the operator of ours that `after` is.

    All our convolutions are products from one kernel: what differs is how many of them there are. None where either
    begins with something else, and where there is no `profile` or it has no such kind of layer.
    """
    work = _work(before, after, shapes)
    return profile.predicted_ms(work) if profile and work else None


def _work(before: Fragment, after: Fragment, shapes: Mapping[str, tuple[int, ...]]) -> Work | None:
    conv = before.nodes[0]
    if conv.op_type != "Conv" or len(after.nodes) != 1:
        return None
    x, y, weight = (shapes.get(conv.input[0]), shapes.get(conv.output[0]), before.constants.get(conv.input[1]))
    if x is None or y is None or weight is None:
        return None
    products = _products(after, x[1])
    if products is None:
        return None
    attributes = {one.name: helper.get_attribute_value(one) for one in conv.attribute}
    return Work.of(x, y, weight.shape, attributes.get("strides", ()), products / weight.size)


def _products(after: Fragment, C_in: int) -> float | None:
    """For each position of the output; None where another operator computes it."""
    (node,) = after.nodes
    stored = [after.constants.get(name, np.zeros(0)) for name in node.input[1:5]]
    if node.domain != DOMAIN:
        return None
    if node.op_type in sparse_conv.EPILOGUES:
        return int(np.count_nonzero(stored[1]))
    if node.op_type in basis_conv.EPILOGUES:
        bases, _, coefficients, _ = stored
        return C_in * bases.size + int(np.count_nonzero(coefficients))
    if node.op_type in unified_conv.EPILOGUES:
        _, scales, _, free = stored
        block = _attribute(node, "block")
        shared = block[1] % _SUMMED == 0 and len(_attribute(node, "levels")) == _PLUS_AND_MINUS
        return scales.size * prod(block) / (_SUMMED if shared else 1) + free.size
    return None


def _attribute(node: NodeProto, name: str) -> list[float]:
    found: list[float] = next(helper.get_attribute_value(one) for one in node.attribute if one.name == name)
    return found
