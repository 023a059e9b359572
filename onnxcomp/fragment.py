"""A piece of a graph that stands on its own: what a rewrite replaces, and what it puts there.

The same fragment is measured, checked for exactness and spliced into the graph, so what was proved is what is saved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnxcomp.convolution import STANDARD_DOMAINS
from onnxcomp.errors import OnnxcompError
from onnxcomp.formats.functions import DOMAIN, DOMAIN_VERSION, MIN_IR
from onnxcomp.model import Model

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Fragment:
    """Nodes in topological order, the constants they read by name, and the names at their border."""

    nodes: tuple[NodeProto, ...]
    constants: Mapping[str, NDArray[Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    functions: tuple[FunctionProto, ...] = field(default=())

    @property
    def size_bytes(self) -> int:
        """Bytes of the constants."""
        return sum(value.nbytes for value in self.constants.values())

    @property
    def is_standard(self) -> bool:
        """Whether all of its operators are ONNX's own."""
        return all(node.domain in STANDARD_DOMAINS for node in self.nodes)

    @classmethod
    def of(cls, model: Model, nodes: Sequence[gs.Node]) -> "Fragment":
        """The fragment that `nodes` of `model` form. Raises OnnxcompError where they hold a subgraph."""
        inside = {id(tensor) for node in nodes for tensor in node.outputs}
        constants: dict[str, NDArray[Any]] = {}
        inputs: list[str] = []
        for tensor in (t for node in nodes for t in node.inputs if not t.is_empty() and id(t) not in inside):
            if tensor.name in constants or tensor.name in inputs:
                continue
            value = model.constant(tensor)
            if value is None:
                inputs.append(tensor.name)
            else:
                constants[tensor.name] = value
        own = {id(node) for node in nodes}
        outputs = [
            tensor.name
            for node in nodes
            for tensor in node.outputs
            if model.is_interface(tensor)
            or model.is_captured(tensor)
            or any(id(consumer) not in own for consumer in tensor.outputs)
        ]
        return cls(tuple(to_proto(node) for node in nodes), constants, tuple(inputs), tuple(outputs))

    def model(self, shapes: Shapes, dtypes: Mapping[str, int], opset: int) -> ModelProto:
        """A model of this fragment alone, with inputs of `shapes` and ONNX element types `dtypes` (default float32)."""

        def info(name: str) -> onnx.ValueInfoProto:
            if name not in shapes and name not in dtypes:
                return onnx.ValueInfoProto(name=name)  # an output that only the fragment has: the runtime infers it
            return helper.make_tensor_value_info(name, dtypes.get(name, TensorProto.FLOAT), shapes.get(name))

        graph = helper.make_graph(
            list(self.nodes),
            "fragment",
            [info(name) for name in self.inputs],
            [info(name) for name in self.outputs],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", opset)]
        if not self.is_standard:
            opsets.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
        return helper.make_model(graph, opset_imports=opsets, functions=list(self.functions), ir_version=MIN_IR)


def to_proto(node: gs.Node) -> NodeProto:
    """`node` as a message, attributes included. A node with a subgraph cannot stand alone: OnnxcompError."""
    attributes = {}
    for name, value in node.attrs.items():
        if isinstance(value, gs.Graph):
            raise OnnxcompError(f"node '{node.name}' holds a subgraph and cannot be measured alone")
        attributes[name] = numpy_helper.from_array(value.values, name) if isinstance(value, gs.Constant) else value
    inputs, outputs = ([t.name for t in tensors] for tensors in (node.inputs, node.outputs))
    return helper.make_node(node.op, inputs, outputs, node.name, domain=node.domain or "", **attributes)


def splice(model: Model, nodes: Sequence[gs.Node], fragment: Fragment) -> None:
    """Put `fragment` where `nodes` stand in the graph of `model`; the border's tensors keep their names.

    A constant of the fragment that is named like an input of `nodes` is that input; any other is new, and renamed where
    its name is taken.
    """
    graph = model.graph
    tensors = {t.name: t for node in nodes for t in (*node.inputs, *node.outputs)}
    inner = {name for node in fragment.nodes for name in node.output} - set(fragment.outputs)
    replaced_names = {t.name for node in nodes for t in node.outputs} - set(fragment.outputs)
    taken = set(graph.tensors()) - replaced_names if inner or fragment.constants else set()
    for name, value in fragment.constants.items():
        if name not in tensors:
            tensors[name] = gs.Constant(unique(name, taken), np.ascontiguousarray(value))
    for name in inner:
        tensors[name] = gs.Variable(unique(name, taken))
    replaced = {id(node) for node in nodes}  # by identity: graphsurgeon's nodes compare by content
    where = max(i for i, node in enumerate(graph.nodes) if id(node) in replaced)
    new = []
    for proto in fragment.nodes:
        attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        text = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        inputs = [tensors[name] if name else gs.Variable.empty() for name in proto.input]
        new.append(gs.Node(proto.op_type, proto.name, text, inputs, domain=proto.domain or None))
    for node in nodes:
        node.outputs.clear()
    for node, proto in zip(new, fragment.nodes, strict=True):
        node.outputs = [tensors[name] if name else gs.Variable.empty() for name in proto.output]
    graph.nodes[where + 1 : where + 1] = new
    for node in nodes:
        node.inputs.clear()
    graph.nodes[:] = [node for node in graph.nodes if id(node) not in replaced]
    for function in fragment.functions:
        model.add_function(function)


def renamed(fragment: Fragment, names: Mapping[str, str]) -> Fragment:
    """`fragment` with other names for its constants: `names`, by those they have."""
    nodes = []
    for proto in fragment.nodes:
        node = NodeProto()
        node.CopyFrom(proto)
        node.input[:] = [names.get(name, name) for name in proto.input]
        nodes.append(node)
    constants = {names.get(name, name): value for name, value in fragment.constants.items()}
    return Fragment(tuple(nodes), constants, fragment.inputs, fragment.outputs, fragment.functions)


def unique(name: str, taken: set[str]) -> str:
    """`name`, or the first of name_1, name_2, ... that is not in `taken`; the result is added to `taken`."""
    candidate, count = name, 0
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate
