"""The multiply-adds of a fragment made of factors."""

from collections.abc import Mapping, Sequence
from math import prod

import onnx
from onnx import NodeProto, helper

from onnxcomp.formats import basis_conv, unified_conv, unified_gemm
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.fragment import Fragment

Shape = Sequence[int]


def multiply_adds(fragment: Fragment, shapes: Mapping[str, tuple[int, ...]], opset: int) -> int:
    """Of every operator that multiplies by a weight. `shapes` are those of the tensors at the border, by name."""
    model = onnx.shape_inference.infer_shapes(fragment.model(shapes, {}, opset), data_prop=True)
    known: dict[str, Shape] = {
        info.name: [dimension.dim_value for dimension in info.type.tensor_type.shape.dim]
        for info in model.graph.value_info
    }
    known.update({name: value.shape for name, value in fragment.constants.items()})
    known.update({name: shapes[name] for name in (*fragment.inputs, *fragment.outputs)})
    return sum(_of(node, known) for node in fragment.nodes)


def _of(node: NodeProto, shapes: Mapping[str, Shape]) -> int:
    if node.op_type == "Conv":
        batch, _, *pixels = shapes[node.output[0]]
        return batch * prod(pixels) * prod(shapes[node.input[1]])
    if node.op_type in ("Gemm", "MatMul"):
        return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.domain == DOMAIN and node.op_type in basis_conv.EPILOGUES:
        x, bases, _, values = (shapes[name] for name in node.input[:4])
        batch, _, *pixels = shapes[node.output[0]]
        return batch * prod(pixels) * (x[1] * prod(bases) + prod(values))
    if node.domain == DOMAIN and node.op_type in (*unified_conv.EPILOGUES, *unified_gemm.FORMS):
        block = next(helper.get_attribute_value(a) for a in node.attribute if a.name == "block")
        unified, free = (prod(shapes[name]) for name in (node.input[2], node.input[4]))
        output = shapes[node.output[0]]
        positions = prod(output[:-1]) if node.op_type in unified_gemm.FORMS else prod((*output[:1], *output[2:]))
        return positions * (unified * prod(map(int, block)) + free)
    return 0
