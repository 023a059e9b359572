"""Raising the operator set: node by node, so that a node whose operator did not change is not touched at all.

Each node whose operator did change goes through onnx's version converter in a model of its own. The converter knows no
operator sets other than the default one and loses names and texts on the way; here it sees neither.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx
import onnx_graphsurgeon as gs
from onnx import FunctionProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from onnxcomp.errors import ModelError
from onnxcomp.model import protos
from onnxcomp.model.external import DataFolder
from onnxcomp.model.importer import DEFAULT_DOMAINS, import_node, label
from onnxcomp.model.nodes import export_node

_CONVERTER_IR = 8  # of the one-node models; any that has all operator sets will do
_FAULTS = (RuntimeError, ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
# Operators that only carry bodies: their own meaning is the same in these versions and later, the bodies are converted.
_CONTAINERS = {"If": 1, "Loop": 1, "Scan": 9, "SequenceMap": 17}
# Operators that mean the same in every version and may hold weights, which the converter need not see.
_ONLY_EXTENDED = ("Constant", "ConstantOfShape")
# Operators that another meaning was given in a version, which the converter passes over (onnx 1.23).
_MISCONVERTED = {"Hardmax": 13, "GroupNormalization": 21}


@dataclass(frozen=True)
class Converted:
    """What stands for a node in the new operator set: `main`, its successor, is one of `nodes`."""

    nodes: list[NodeProto]
    constants: list[TensorProto]


class Converter:
    """Converts nodes from one version of the default operator set to a later one.

    `types` are declarations of tensors where known; `taken` are names in use, to which new ones are added.
    """

    def __init__(self, old: int, new: int, types: Mapping[str, ValueInfoProto], taken: Iterable[str]) -> None:
        self._old = old
        self._new = new
        self._types = types
        self._taken = set(taken)

    def convert(self, node: NodeProto) -> Converted | None:
        """What stands for `node`; None where it stays as it is. Raises ModelError where it cannot be converted."""
        if node.domain not in DEFAULT_DOMAINS:
            return None
        if any(True for _ in protos.bodies(node.attribute)):
            return self._convert_container(node)
        if not _changed(node.op_type, self._old, self._new):
            return None
        _refuse_misconverted(node, self._old, self._new)
        single = self._convert_alone(node)
        if _is_same(node, single):
            return None
        _mind_sampling(node, single, self._old, self._new)
        return self._renamed(single, node)

    def _convert_alone(self, node: NodeProto) -> Converted:
        """The converter's answer, with names as it gives them."""
        inputs = [self._port(name) for name in dict.fromkeys(filter(None, node.input))]
        outputs = [self._port(name) for name in filter(None, node.output)]
        graph = helper.make_graph([node], "", inputs, outputs)
        imports = [helper.make_opsetid("", self._old)]
        try:
            model = helper.make_model(graph, opset_imports=imports, ir_version=_CONVERTER_IR)
            result = onnx.version_converter.convert_version(model, self._new).graph
        except _FAULTS as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"cannot raise the operator set to {self._new}: node {label(node)}: {reason}") from error
        return Converted(list(result.node), list(result.initializer))

    def _port(self, name: str) -> ValueInfoProto:
        return self._types.get(name) or ValueInfoProto(name=name)

    def _renamed(self, single: Converted, node: NodeProto) -> Converted:
        """The same with inner names that are new to the model, and with the name and texts of `node`."""
        outer = {*node.input, *node.output}
        inner = {name for made in single.nodes for name in made.output} | {tensor.name for tensor in single.constants}
        renames = {name: self._new_name(f"{node.output[0]}{name}") for name in sorted(inner - outer)}
        for made in single.nodes:
            made.input[:] = [renames.get(name, name) for name in made.input]
            made.output[:] = [renames.get(name, name) for name in made.output]
            made.ClearField("name")
        for tensor in single.constants:
            tensor.name = renames[tensor.name]
        main = next((made for made in single.nodes if made.op_type == node.op_type), single.nodes[-1])
        main.name = node.name
        main.doc_string = node.doc_string
        main.metadata_props.extend(node.metadata_props)
        return single

    def _new_name(self, wanted: str) -> str:
        name, count = wanted, 0
        while name in self._taken:
            count += 1
            name = f"{wanted}.{count}"
        self._taken.add(name)
        return name

    def _convert_container(self, node: NodeProto) -> Converted | None:
        if self._old < _CONTAINERS.get(node.op_type, self._new):
            raise ModelError(f"cannot raise the operator set to {self._new}: node {label(node)} changed its meaning")
        result = NodeProto()
        result.CopyFrom(node)
        changed = [self._convert_body(body) for body in protos.bodies(result.attribute)]
        return Converted([result], []) if any(changed) else None

    def _convert_body(self, body: GraphProto) -> bool:
        """Convert `body` in place; whether anything changed."""
        inside = {value.name: value for value in (*body.input, *body.value_info)}
        names = protos.defined_names(body) | self._taken
        converter = Converter(self._old, self._new, {**self._types, **inside}, names)
        converted = [(node, converter.convert(node)) for node in body.node]
        if not any(result for _, result in converted):
            return False
        nodes = [made for node, result in converted for made in (result.nodes if result else [node])]
        body.ClearField("node")
        body.node.extend(nodes)
        body.initializer.extend(tensor for _, result in converted if result for tensor in result.constants)
        return True


def _changed(op: str, old: int, new: int) -> bool:
    """Whether the operator's definition changed between the versions; not so for one that the standard lacks."""
    if op in _ONLY_EXTENDED:
        return False
    try:
        before = onnx.defs.get_schema(op, old)
    except onnx.defs.SchemaError:
        return False
    return bool(before.since_version != onnx.defs.get_schema(op, new).since_version)


def _refuse_misconverted(node: NodeProto, old: int, new: int) -> None:
    changed = _MISCONVERTED.get(node.op_type, new + 1)
    if old < changed <= new:
        raise ModelError(f"cannot raise the operator set to {new}: node {label(node)} changed its meaning in {changed}")


def _is_same(node: NodeProto, single: Converted) -> bool:
    """Whether the converter left `node` as it was; it may write weights in another way, which does not count."""
    return not single.constants and [_essence(node)] == [_essence(made) for made in single.nodes]


def _essence(node: NodeProto) -> tuple[object, ...]:
    attributes = {a.name: (a.type, a.f, a.i, a.s, [*a.floats], [*a.ints], [*a.strings]) for a in node.attribute}
    return node.op_type, list(node.input), list(node.output), attributes


def _mind_sampling(node: NodeProto, single: Converted, old: int, new: int) -> None:
    """Make Resize say how Upsample and Resize chose samples before 11; the converter forgets to.

    Raises ModelError for Resize-10 to the nearest sample, which rounds otherwise when it shrinks.
    """
    if node.op_type not in ("Upsample", "Resize") or not old < 11 <= new:
        return
    nearest = all(a.s == b"nearest" for a in node.attribute if a.name == "mode")
    if nearest and node.op_type == "Resize":
        raise ModelError(f"cannot raise the operator set to {new}: node {label(node)} rounds as no Resize-11 does")
    for made in single.nodes:
        if made.op_type == "Resize":
            made.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            if nearest:
                made.attribute.append(helper.make_attribute("nearest_mode", "floor"))


def check_functions(functions: Iterable[FunctionProto], new: int) -> None:
    """Raise ModelError where a body of `functions` uses an operator that `new` defines otherwise than it expects."""
    for function in functions:
        for entry in function.opset_import:
            if entry.domain not in DEFAULT_DOMAINS:
                continue
            for node in function.node:
                if node.domain in DEFAULT_DOMAINS and _changed(node.op_type, *sorted((entry.version, new))):
                    raise ModelError(
                        f"cannot raise the operator set to {new}: function '{function.domain}::{function.name}' "
                        f"uses {node.op_type} of {entry.version}"
                    )


def convert_graph(graph: gs.Graph, converter: Converter, folder: DataFolder) -> None:
    """Convert every node of `graph` in place. Raises ModelError, the graph untouched, where one cannot be."""
    converted = [(node, converter.convert(export_node(node))) for node in graph.nodes]
    graph.nodes = [
        made for node, result in converted for made in (_replace(node, result, folder) if result else [node])
    ]


def _replace(node: gs.Node, result: Converted, folder: DataFolder) -> list[gs.Node]:
    """Connect what stands for `node` to the tensors it was connected to."""
    local = {tensor.name: tensor for tensor in (*node.inputs, *node.outputs)}
    for constant in result.constants:
        local[constant.name] = gs.Constant(constant.name, numpy_helper.to_array(constant))
    for name in (name for made in result.nodes for name in made.output):
        local.setdefault(name, gs.Variable(name))
    node.inputs.clear()
    node.outputs.clear()
    return [
        import_node(made, folder, lambda name: local[name] if name else gs.Variable.empty()) for made in result.nodes
    ]
