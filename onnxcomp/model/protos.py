"""Walking ONNX messages: graphs inside nodes, tensors inside everything, names that a body takes from outside."""

from collections.abc import Iterable, Iterator, Mapping

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from onnxcomp.errors import ModelError


def bodies(attributes: Iterable[AttributeProto]) -> Iterator[GraphProto]:
    """The graphs in `attributes`: branches of If, the body of Loop or Scan."""
    for attribute in attributes:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def tensors_of_sparse(sparse: Iterable[SparseTensorProto]) -> Iterator[TensorProto]:
    """Values and indices of each."""
    for tensor in sparse:
        yield tensor.values
        yield tensor.indices


def tensors_of_attributes(attributes: Iterable[AttributeProto]) -> Iterator[TensorProto]:
    """Every tensor in `attributes`, at any depth; not the placeholders of those that refer to a function's own."""
    for attribute in attributes:
        if attribute.ref_attr_name:
            continue
        if attribute.HasField("t") or attribute.type == AttributeProto.TENSOR:
            yield attribute.t
        if attribute.HasField("sparse_tensor") or attribute.type == AttributeProto.SPARSE_TENSOR:
            yield from tensors_of_sparse([attribute.sparse_tensor])
        yield from attribute.tensors
        yield from tensors_of_sparse(attribute.sparse_tensors)
        for body in bodies([attribute]):
            yield from tensors_of_graph(body)


def tensors_of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor in `graph`, at any depth."""
    yield from graph.initializer
    yield from tensors_of_sparse(graph.sparse_initializer)
    for node in graph.node:
        yield from tensors_of_attributes(node.attribute)


def tensors_of_functions(functions: Iterable[FunctionProto]) -> Iterator[TensorProto]:
    """Every tensor in the bodies and default attributes of `functions`."""
    for function in functions:
        yield from tensors_of_attributes(function.attribute_proto)
        for node in function.node:
            yield from tensors_of_attributes(node.attribute)


def tensors_of_model(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor in `model`."""
    yield from model.graph.initializer
    yield from tensors_beside_initializers(model)


def tensors_beside_initializers(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor in `model` but the initializers of its main graph."""
    yield from tensors_of_sparse(model.graph.sparse_initializer)
    for node in model.graph.node:
        yield from tensors_of_attributes(node.attribute)
    yield from tensors_of_functions(model.functions)
    for training in model.training_info:
        yield from tensors_of_graph(training.initialization)
        yield from tensors_of_graph(training.algorithm)


def nodes_of_model(model: ModelProto) -> Iterator[NodeProto]:
    """Every node in the main graph and the functions of `model`, and inside these."""
    yield from _nodes(model.graph.node)
    for function in model.functions:
        yield from _nodes(function.node)


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for body in bodies(node.attribute):
            yield from _nodes(body.node)


def check_text(*names: object) -> None:
    """Raise ModelError for a name that is not UTF-8: protobuf gives it as bytes."""
    for name in names:
        if isinstance(name, bytes):
            raise ModelError(f"the name {name[:80]!r} is not UTF-8 text")


def defined_names(graph: GraphProto) -> set[str]:
    """Names that `graph` itself gives a value: inputs, initializers, outputs of its nodes."""
    names = {value.name for value in graph.input}
    names.update(tensor.name for tensor in graph.initializer)
    names.update(tensor.values.name for tensor in graph.sparse_initializer)
    names.update(name for node in graph.node for name in node.output)
    return names


def captured_names(body: GraphProto) -> list[str]:
    """Names that `body` reads from the graphs around it, each once, in the order of first use."""
    local = defined_names(body)
    used: dict[str, None] = {}
    for node in body.node:
        used.update(dict.fromkeys(node.input))
        for inner in bodies(node.attribute):
            used.update(dict.fromkeys(captured_names(inner)))
    used.update(dict.fromkeys(value.name for value in body.output))
    return [name for name in used if name and name not in local]


def rename_captured(body: GraphProto, renames: Mapping[str, str]) -> None:
    """Make `body`, in place, read `renames[name]` wherever it read `name` from outside.

    Raises ModelError where the body uses the new name for a tensor of its own.
    """
    local = defined_names(body)
    renames = {old: new for old, new in renames.items() if old not in local}
    for new in renames.values():
        if new in local:
            raise ModelError(f"cannot rename a tensor to {new!r}: the subgraph {body.name!r} has one of that name")
    for node in body.node:
        for index, name in enumerate(node.input):
            node.input[index] = renames.get(name, name)
        for inner in bodies(node.attribute):
            rename_captured(inner, renames)
    for value in body.output:
        value.name = renames.get(value.name, value.name)
