"""A checked ModelProto to a graphsurgeon graph whose nodes and constants remember the message they came from.

gs.Node.origin      the NodeProto; nodes made by passes have none
gs.Tensor.origin    Stored or StoredSparse: the values of an initializer, also of one that a caller may override, which
                    is a gs.Variable among the graph's inputs
"""

from collections.abc import Callable, Iterator

import onnx_graphsurgeon as gs
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

from onnxcomp.errors import ModelError
from onnxcomp.model import attributes, protos
from onnxcomp.model.external import DataFolder
from onnxcomp.model.protos import check_text
from onnxcomp.model.stored import Stored, StoredSparse
from onnxcomp.model.tensors import dimensions, numpy_type

FIRST_IR_WITH_DEFAULTS = 4  # before, initializers had to be listed as inputs and were constants all the same
DEFAULT_DOMAINS = ("", "ai.onnx")


def variable(value: ValueInfoProto) -> gs.Variable:
    """A variable of the name, type and shape of `value`; dtype and shape are None for what is not a dense tensor."""
    kind = value.type.WhichOneof("value") or "tensor_type"
    dtype, shape = None, None
    if kind == "tensor_type":
        dtype, shape = numpy_type(value.type.tensor_type.elem_type), dimensions(value.type.tensor_type)
        check_text(*(shape or ()))
    return gs.Variable(value.name, dtype, shape, type=kind)


class Importer:
    """Builds the graph of one model; `initializers` are its initializers in file order, read by a node or not."""

    def __init__(self, model: ModelProto, folder: DataFolder) -> None:
        self._model = model
        self._folder = folder
        self._tensors: dict[str, gs.Tensor] = {}
        self.initializers: list[gs.Tensor] = []

    def graph(self) -> gs.Graph:
        """The graph. Raises ModelError for a tensor with two sources, or with none."""
        source = self._model.graph
        for node in protos.nodes_of_model(self._model):
            names = (attribute.name for attribute in node.attribute)
            check_text(node.op_type, node.name, node.domain, *node.input, *node.output, *names)
        types = {value.name: value for value in (*source.value_info, *source.output)}
        inputs = self._import_inputs(source)
        for node in source.node:
            for name in filter(None, node.output):
                self._define(variable(types[name]) if name in types else gs.Variable(name), f"node {label(node)}")
        nodes = [self._import_node(node) for node in source.node]
        outputs = [self._tensor(value.name, "the graph's outputs") for value in source.output]
        opset = default_opset(self._model)
        return gs.Graph(
            nodes,
            inputs,
            outputs,
            name=source.name,
            doc_string=source.doc_string,
            opset=opset,
            import_domains=list(self._model.opset_import),
            producer_name=self._model.producer_name,
            producer_version=self._model.producer_version,
            ir_version=self._model.ir_version,
        )

    def _import_inputs(self, source: GraphProto) -> list[gs.Variable]:
        """Define initializers and inputs; returns the inputs that a caller may set."""
        listed = {value.name: variable(value) for value in source.input}
        overridable = self._model.ir_version >= FIRST_IR_WITH_DEFAULTS
        for name, values in self._stored(source):
            has_default = overridable and name in listed
            tensor = listed[name] if has_default else gs.Constant(name, values)
            if any(tensor is other for other in self.initializers):
                raise ModelError(f"tensor {name!r} has two initializers; each may have only one")
            tensor.origin = values
            self.initializers.append(tensor)
            if not has_default:
                self._define(tensor, "an initializer")
        inputs = [listed[value.name] for value in source.input if value.name not in self._tensors]
        for tensor in inputs:
            self._define(tensor, "an input")
        return inputs

    def _stored(self, source: GraphProto) -> Iterator[tuple[str, Stored | StoredSparse]]:
        for tensor in source.initializer:
            yield tensor.name, Stored(tensor, self._folder)
        for sparse in source.sparse_initializer:
            yield sparse.values.name, StoredSparse(sparse, self._folder)

    def _define(self, tensor: gs.Tensor, maker: str) -> None:
        check_text(tensor.name)
        if tensor.name in self._tensors:
            raise ModelError(f"tensor {tensor.name!r} has two sources, one of them {maker}; each may have only one")
        self._tensors[tensor.name] = tensor

    def _tensor(self, name: str, reader: str) -> gs.Tensor:
        if not name:
            return gs.Variable.empty()
        if name not in self._tensors:
            raise ModelError(f"tensor {name!r}, read by {reader}, is not made by any node, input or initializer")
        return self._tensors[name]

    def _import_node(self, proto: NodeProto) -> gs.Node:
        return import_node(proto, self._folder, lambda name: self._tensor(name, f"node {label(proto)}"))


def import_node(proto: NodeProto, folder: DataFolder, tensor: Callable[[str], gs.Tensor]) -> gs.Node:
    """A node that remembers `proto`, connected to the tensors that `tensor` finds by name."""
    node = gs.Node(
        proto.op_type,
        proto.name,
        {attribute.name: attributes.import_attribute(attribute, folder) for attribute in proto.attribute},
        domain=None if proto.domain in DEFAULT_DOMAINS else proto.domain,
    )
    node.inputs.extend([tensor(name) for name in (*proto.input, *attributes.captured(node))])
    node.outputs.extend([tensor(name) for name in proto.output])
    node.origin = proto
    return node


def label(node: NodeProto | gs.Node) -> str:
    """How messages call a node: by its name, or by its first output where it has none."""
    if isinstance(node, NodeProto):
        op, outputs = node.op_type, list(node.output)
    else:
        op, outputs = node.op, [tensor.name for tensor in node.outputs]
    return f"{node.name or next(iter(outputs), '')!r} ({op if op.isprintable() else repr(op)})"


def default_opset(model: ModelProto) -> int:
    """The version of the default operator set; 0 for a model that uses others only."""
    for entry in model.opset_import:
        if entry.domain in DEFAULT_DOMAINS:
            return int(entry.version)
    return 0
