"""A rewritten graph back to a ModelProto: what was not touched goes out as the message that came in."""

import math
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Any

import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from onnxcomp.errors import ModelError
from onnxcomp.model import protos, skeleton, topology
from onnxcomp.model.external import DataFolder, Span, is_external
from onnxcomp.model.importer import FIRST_IR_WITH_DEFAULTS, variable
from onnxcomp.model.nodes import export_node
from onnxcomp.model.reading import MAX_PROTO_BYTES, TOO_LARGE, message_bytes
from onnxcomp.model.stored import Stored, StoredSparse
from onnxcomp.model.tensors import packed_bytes
from onnxcomp.model.values import (
    Values,
    current_values,
    external_message,
    packed,
    stored_bytes,
    tensor_message,
    value_info,
)


@dataclass(frozen=True)
class Parts:
    """What a model consists of: the graph to rewrite, and all the rest.

    shell           the loaded ModelProto without the nodes and initializers of its main graph
    initializers    those of the file, in its order, as tensors of the graph
    names           every tensor of the main graph as loaded
    folder          where its external data lies
    """

    graph: gs.Graph
    shell: ModelProto
    initializers: list[gs.Tensor]
    names: frozenset[str]
    folder: DataFolder


@dataclass(frozen=True)
class Export:
    """A ModelProto, and the payloads of those of its tensors that are not in it yet."""

    proto: ModelProto = field(default_factory=ModelProto)
    payloads: list[tuple[TensorProto, Span | NDArray[Any]]] = field(default_factory=list)

    def embed(self) -> ModelProto:
        """The model with every payload inside. Raises ModelError where that exceeds what a protobuf can hold."""
        if message_bytes(self.proto) + sum(payload_bytes(payload) for _, payload in self.payloads) > MAX_PROTO_BYTES:
            raise ModelError(TOO_LARGE)
        for tensor, payload in self.payloads:
            tensor.raw_data = bytes(payload.read() if isinstance(payload, Span) else packed(payload))
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
        self.payloads.clear()
        return self.proto


def payload_bytes(payload: Span | NDArray[Any]) -> int:
    """Bytes a payload takes in the file."""
    return payload.length if isinstance(payload, Span) else stored_bytes(payload)


class Exporter:
    """Exports one state of a model.

    external_from   arrays of passes from so many bytes on wait in `payloads`; None: all are embedded
    lift_from       initializers and Constant nodes from so many bytes on become inputs of the graph; None: none does
    """

    def __init__(self, parts: Parts, external_from: int | None = None, lift_from: int | None = None) -> None:
        self._parts = parts
        self._external_from = external_from
        self._lift_from = lift_from
        self._tensors = topology.named_tensors(parts.graph)
        self._initializers = list(self._all_initializers())
        self._lifted: dict[str, ValueInfoProto] = {}
        self._export = Export()

    def run(self) -> Export:
        """The model as it stands. Raises ModelError where the graph is not sound."""
        proto = self._export.proto
        proto.CopyFrom(self._parts.shell)
        for node in topology.ordered(self._parts.graph):
            self._add_node(node)
        for tensor in self._initializers:
            self._add_initializer(tensor.name, current_values(tensor), getattr(tensor, "origin", None))
        if self._lift_from is not None:
            proto.ClearField("training_info")
            self._lifted.update(skeleton.lift_from_bodies(proto.graph, self._lift_from, self._names()))
        self._set_interface()
        self._drop_stale()
        for external in filter(is_external, protos.tensors_beside_initializers(proto)):
            length = packed_bytes(external.data_type, math.prod(external.dims))
            self._export.payloads.append((external, self._parts.folder.span(external, length)))
        return self._export

    def _names(self) -> Set[str]:
        return self._tensors.keys() | {tensor.name for tensor in self._initializers}

    def _all_initializers(self) -> Iterator[gs.Tensor]:
        """Initializers of the file in its order, also those that nobody reads, then those that passes have made."""
        inputs = {id(tensor) for tensor in self._parts.graph.inputs}
        attached = {name: tensor for name, tensor in self._tensors.items() if isinstance(tensor, gs.Constant)}
        for tensor in self._parts.initializers:
            if not isinstance(tensor, gs.Constant):
                if id(tensor) in inputs:
                    yield tensor
            elif tensor.name in attached:
                yield attached.pop(tensor.name)
            elif tensor.name not in self._tensors:
                yield tensor
        yield from attached.values()

    def _add_node(self, node: gs.Node) -> None:
        proto = self._export.proto
        if node.op == "Constant" and isinstance(value := node.attrs.get("value"), gs.Constant):
            values = current_values(value)
            if self._is_lifted(values):
                name = node.outputs[0].name
                self._lifted[name] = value_info(name, values)
                return
        proto.graph.node.append(export_node(node))
        if hasattr(node, "origin") and node.origin.domain == node.domain:
            return
        if node.domain and all(entry.domain != node.domain for entry in proto.opset_import):
            proto.opset_import.add(domain=node.domain, version=1)

    def _is_lifted(self, values: Values) -> bool:
        return self._lift_from is not None and stored_bytes(values) >= self._lift_from

    def _add_initializer(self, name: str, values: Values, origin: Stored | StoredSparse | None) -> None:
        graph = self._export.proto.graph
        if self._is_lifted(values):
            self._lifted[name] = value_info(name, values)
        elif isinstance(values, StoredSparse):
            graph.sparse_initializer.append(values.tensor)
            graph.sparse_initializer[-1].values.name = name
        elif isinstance(values, Stored):
            graph.initializer.append(tensor_message(name, values))
            if values.span is not None:
                self._export.payloads.append((graph.initializer[-1], values.span))
        else:
            like = origin.tensor if isinstance(origin, Stored) else None
            if self._goes_external(values, origin):
                graph.initializer.append(external_message(name, values, like))
                self._export.payloads.append((graph.initializer[-1], values))
            else:
                graph.initializer.append(tensor_message(name, values, like))

    def _goes_external(self, array: NDArray[Any], origin: Stored | StoredSparse | None) -> bool:
        if array.dtype.kind in "OUS":
            return False
        was_external = isinstance(origin, Stored) and origin.span is not None
        return was_external or (self._external_from is not None and stored_bytes(array) >= self._external_from)

    def _set_interface(self) -> None:
        """Inputs and outputs as the file declares them, less those that are gone, plus those that are new."""
        loaded, graph = self._parts.shell.graph, self._export.proto.graph
        known = {value.name for value in loaded.input}
        inputs = {tensor.name: _declared(tensor) for tensor in self._parts.graph.inputs}
        if self._export.proto.ir_version < FIRST_IR_WITH_DEFAULTS:
            inputs.update(
                (tensor.name, value_info(tensor.name, current_values(tensor)))
                for tensor in self._initializers
                if tensor.name in known or tensor.name not in self._parts.names
            )
        inputs.update((name, value) for name, value in self._lifted.items() if name not in inputs)
        graph.ClearField("input")
        graph.input.extend(value for value in loaded.input if value.name in inputs)
        graph.input.extend(value for name, value in inputs.items() if name not in known)

        outputs = {value.name: value for value in loaded.output}
        graph.ClearField("output")
        graph.output.extend(outputs.get(tensor.name) or _declared(tensor) for tensor in self._parts.graph.outputs)

    def _drop_stale(self) -> None:
        """Remove what the file says of tensors that are gone or of which it is no longer true."""
        loaded, graph = self._parts.shell.graph, self._export.proto.graph
        gone = self._parts.names - self._names()
        kept = [value for value in loaded.value_info if value.name not in gone and self._holds(value)]
        if len(kept) < len(loaded.value_info):
            graph.ClearField("value_info")
            graph.value_info.extend(kept)
        notes = [note for note in loaded.quantization_annotation if note.tensor_name not in gone]
        if len(notes) < len(loaded.quantization_annotation):
            graph.ClearField("quantization_annotation")
            graph.quantization_annotation.extend(notes)

    def _holds(self, value: ValueInfoProto) -> bool:
        """Whether the tensor of that name, where there is one, may have the type and shape that `value` says."""
        tensor, said = self._tensors.get(value.name), variable(value)
        if tensor is None or tensor.shape is None or said.shape is None or None in (tensor.dtype, said.dtype):
            return True
        return (
            tensor.dtype == said.dtype
            and len(tensor.shape) == len(said.shape)
            and all(
                not (isinstance(now, int) and isinstance(then, int)) or now == then
                for now, then in zip(tensor.shape, said.shape, strict=True)
            )
        )


def _declared(tensor: gs.Tensor) -> ValueInfoProto:
    """A declaration for an input or output that the file has none for."""
    if tensor.dtype is None:
        return ValueInfoProto(name=tensor.name)
    return helper.make_tensor_value_info(tensor.name, helper.np_dtype_to_tensor_dtype(tensor.dtype), tensor.shape)
