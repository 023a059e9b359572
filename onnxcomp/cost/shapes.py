"""Concrete shapes of every tensor, once the graph inputs' shapes are fixed."""

from collections.abc import Mapping, Sequence

import onnx
from onnx import ModelProto, TypeProto

from onnxcomp.model import Model


def concrete_types(
    model: Model, inputs: Mapping[str, Sequence[int]]
) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Shapes (those fully known) and ONNX element types by tensor name, with graph inputs of the shapes `inputs`."""
    proto = model.skeleton()
    _fix_inputs(proto, inputs)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError):
        inferred = proto.graph
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, int] = {}
    for info in (*inferred.input, *inferred.value_info, *inferred.output):
        tensor = info.type.tensor_type
        if info.type.WhichOneof("value") != "tensor_type" or not tensor.elem_type:
            continue
        dtypes[info.name] = tensor.elem_type
        if tensor.HasField("shape") and all(d.WhichOneof("value") == "dim_value" for d in tensor.shape.dim):
            shapes[info.name] = tuple(d.dim_value for d in tensor.shape.dim)
    for tensor in inferred.initializer:
        dtypes[tensor.name], shapes[tensor.name] = tensor.data_type, tuple(tensor.dims)
    return shapes, dtypes


def _fix_inputs(proto: ModelProto, inputs: Mapping[str, Sequence[int]]) -> None:
    """Fix the inputs and forget what was declared of everything else: it may hold for other input shapes only."""
    del proto.graph.value_info[:]
    for output in proto.graph.output:
        if output.type.WhichOneof("value") == "tensor_type":
            output.type.tensor_type.ClearField("shape")
    for info in proto.graph.input:
        if info.name in inputs:
            shape = TypeProto.Tensor(elem_type=info.type.tensor_type.elem_type)
            shape.shape.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=d) for d in inputs[info.name])
            info.type.tensor_type.CopyFrom(shape)
