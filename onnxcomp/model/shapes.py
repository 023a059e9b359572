"""Types and shapes of inner tensors, from onnx's shape inference."""

import onnx
import onnx_graphsurgeon as gs
from onnx import ModelProto, ValueInfoProto

from onnxcomp.model.importer import variable


def infer(skeleton: ModelProto) -> dict[str, ValueInfoProto]:
    """Declarations of inner tensors by name; none where inference fails, for what it cannot do is merely unknown."""
    try:
        inferred = onnx.shape_inference.infer_shapes(skeleton, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return {}
    return {value.name: value for value in inferred.graph.value_info}


def fill_in(tensor: gs.Variable, found: ValueInfoProto) -> None:
    """Complete type and shape of `tensor` by what was found. Known dimensions and names of dimensions stay."""
    said = variable(found)
    if tensor.dtype is None:
        tensor.dtype = said.dtype
    if tensor.shape is None or said.shape is None or len(tensor.shape) != len(said.shape):
        tensor.shape = said.shape if tensor.shape is None else tensor.shape
    else:
        tensor.shape = [new if old is None else old for old, new in zip(tensor.shape, said.shape, strict=True)]
