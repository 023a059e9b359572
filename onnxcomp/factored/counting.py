"""The multiply-adds of a fragment of standard operators."""

from collections.abc import Mapping, Sequence
from math import prod

import onnx
from onnx import NodeProto

from onnxcomp.fragment import Fragment

Shape = Sequence[int]


def multiply_adds(fragment: Fragment, shapes: Mapping[str, tuple[int, ...]], opset: int) -> int:
    """Of every Conv and MatMul, on inputs of `shapes`; each must be known. Operators of other domains count nothing."""
    model = onnx.shape_inference.infer_shapes(fragment.model(shapes, {}, opset), data_prop=True)
    known: dict[str, Shape] = {name: value.shape for name, value in fragment.constants.items()}
    for info in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        known[info.name] = [dimension.dim_value for dimension in info.type.tensor_type.shape.dim]
    return sum(_of(node, known) for node in fragment.nodes)


def _of(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    if node.op_type == "Conv":
        batch, _, *pixels = shapes[node.output[0]]
        return batch * prod(pixels) * prod(shapes[node.input[1]])
    if node.op_type == "MatMul":
        return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return 0
