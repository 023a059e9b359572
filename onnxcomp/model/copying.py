"""An independent copy of a model's parts; weights and messages, which nobody modifies in place, are shared."""

from typing import Any

import onnx_graphsurgeon as gs
from onnx import ModelProto

from onnxcomp.model.exporter import Parts


def copy(parts: Parts) -> Parts:
    """A copy whose graph can be rewritten without the original noticing, and the other way round."""
    twins: dict[int, gs.Tensor] = {}

    def twin(tensor: gs.Tensor) -> gs.Tensor:
        if id(tensor) not in twins:
            twins[id(tensor)] = _copy_tensor(tensor)
        return twins[id(tensor)]

    shell = ModelProto()
    shell.CopyFrom(parts.shell)
    old = parts.graph
    graph = gs.Graph(
        [_copy_node(node, [twin(t) for t in node.inputs], [twin(t) for t in node.outputs]) for node in old.nodes],
        [twin(tensor) for tensor in old.inputs],
        [twin(tensor) for tensor in old.outputs],
        name=old.name,
        doc_string=old.doc_string,
        opset=old.opset,
        import_domains=list(shell.opset_import),
        producer_name=old.producer_name,
        producer_version=old.producer_version,
        ir_version=old.ir_version,
    )
    graph.name_idx = old.name_idx  # names that graph.layer makes stay unique
    return Parts(graph, shell, [twin(tensor) for tensor in parts.initializers], parts.names, parts.folder)


def _copy_node(node: gs.Node, inputs: list[gs.Tensor], outputs: list[gs.Tensor]) -> gs.Node:
    attributes = {name: _copy_value(value) for name, value in node.attrs.items()}
    result = gs.Node(node.op, node.name, attributes, inputs, outputs, node.domain)
    return _with_origin(result, node)


def _copy_value(value: Any) -> Any:
    if isinstance(value, gs.Tensor):
        return _copy_tensor(value)
    return list(value) if isinstance(value, list) else value


def _copy_tensor(tensor: gs.Tensor) -> gs.Tensor:
    if isinstance(tensor, gs.Constant):
        result = gs.Constant(tensor.name, tensor._values, tensor.data_location, tensor._export_dtype)
    else:
        shape = None if tensor.shape is None else list(tensor.shape)
        result = gs.Variable(tensor.name, tensor.dtype, shape, tensor.type)
    return _with_origin(result, tensor)


def _with_origin(result: Any, original: Any) -> Any:
    if hasattr(original, "origin"):
        result.origin = original.origin
    return result
