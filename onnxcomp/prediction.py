"""What a layer will take, before it is measured."""

from collections.abc import Mapping

import numpy as np
from onnx import helper

from onnxcomp.cost.host_profile import HostProfile
from onnxcomp.cost.skimcaffe import Work
from onnxcomp.fragment import Fragment


def predicted_ms(
    profile: HostProfile | None, fragment: Fragment, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[float, float] | None:
    """Dense and sparse milliseconds of the Conv that `fragment` begins with.

    None where it begins with another operator, and where there is no `profile` or it has no such kind of layer.
    """
    work = _work(fragment, shapes)
    return profile.predicted_ms(work) if profile and work else None


def _work(fragment: Fragment, shapes: Mapping[str, tuple[int, ...]]) -> Work | None:
    conv = fragment.nodes[0]
    if conv.op_type != "Conv":
        return None
    x, y, weight = (shapes.get(conv.input[0]), shapes.get(conv.output[0]), fragment.constants.get(conv.input[1]))
    if x is None or y is None or weight is None:
        return None
    attributes = {one.name: helper.get_attribute_value(one) for one in conv.attribute}
    return Work.of(x, y, weight.shape, attributes.get("strides", ()), np.count_nonzero(weight) / weight.size)
