"""The model under work: a graphsurgeon graph that passes rewrite, and the envelope of everything else in the file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import FunctionProto, ModelProto

from onnxcomp.errors import ModelError
from onnxcomp.model import (
    attributes,
    checking,
    conversion,
    copying,
    folding,
    protos,
    saving,
    shapes,
    tensors,
    topology,
    values,
)
from onnxcomp.model.exporter import Export, Exporter, Parts
from onnxcomp.model.external import DataFolder
from onnxcomp.model.importer import DEFAULT_DOMAINS, Importer, default_opset
from onnxcomp.model.reading import MAX_PROTO_BYTES, copy_proto, message_bytes, parsed, read_proto

_LIFT_FROM_BYTES = 1024
_EXTERNAL_FROM_BYTES = 1024
_FIRST_IR_WITH_FUNCTIONS = 8


class Model:
    """A model: `graph` to rewrite in place, and what graphsurgeon would lose of the file.

    What is not touched is written as it was read, message for message. A node with subgraphs is opaque: it has an
    `attributes.Body` among its attributes and, after its own inputs, the outer tensors that its bodies read. An input
    with a default value (IR 4 and up) is a variable like any other input. Tensors know the values of the file without
    reading them (`tensor.shape`, `tensor.dtype`); `constant` reads them.
    """

    def __init__(self, parts: Parts, source: Path | None, interface: checking.Interface) -> None:
        """For `load`, `from_proto` and `clone`."""
        self._parts = parts
        self._interface = interface
        self.source = source

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """Read a file; external data is only looked at, and read when asked for.

        Raises ModelError where the file or its external data is missing, is not a sound model or is too new.
        """
        path = Path(path)
        try:
            return cls._adopt(read_proto(path), path.parent, path)
        except ModelError as error:
            raise ModelError(f"cannot load {path}: {error}") from error

    @classmethod
    def from_proto(cls, proto: ModelProto, base_dir: Path | None = None) -> "Model":
        """A model from a copy of `proto`, whose external data, if any, lies in `base_dir`. Raises as `load` does."""
        return cls._adopt(copy_proto(proto), base_dir, None)

    @classmethod
    def _adopt(cls, proto: ModelProto, base_dir: Path | None, source: Path | None) -> "Model":
        """Take `proto` apart; it becomes the shell."""
        folder = DataFolder(base_dir)
        for tensor in protos.tensors_of_model(proto):
            tensors.validate(tensor, folder)
        reader = Importer(proto, folder)
        graph = reader.graph()
        topology.ordered(graph)
        names = frozenset(topology.named_tensors(graph)) | {tensor.name for tensor in reader.initializers}
        for field in ("node", "initializer", "sparse_initializer"):
            proto.graph.ClearField(field)
        parts = Parts(graph, proto, reader.initializers, names, folder)
        return cls(parts, source, checking.Interface.of(graph))

    @property
    def graph(self) -> gs.Graph:
        """The main graph, to be rewritten in place."""
        return self._parts.graph

    @property
    def opset(self) -> int:
        """The version of the default operator set; 0 where the model uses others only."""
        return default_opset(self._parts.shell)

    @property
    def ir_version(self) -> int:
        """The version of the file format."""
        return int(self._parts.shell.ir_version)

    @property
    def functions(self) -> Mapping[tuple[str, str], FunctionProto]:
        """The model-local functions by domain and name."""
        return MappingProxyType(
            {(function.domain, function.name): function for function in self._parts.shell.functions}
        )

    def required_inputs(self) -> list[gs.Variable]:
        """The inputs that a caller must give, in order: those without a default value."""
        return [tensor for tensor in self.graph.inputs if getattr(tensor, "origin", None) is None]

    @classmethod
    def from_bytes(cls, message: bytes) -> "Model":
        """A model from a serialized ModelProto that has its weights inside. Raises ModelError as `load` does."""
        return cls._adopt(parsed(message), None, None)

    def __reduce__(self) -> tuple[Callable[[bytes], "Model"], tuple[bytes]]:
        """Pickled as one message: raises ModelError above 2 GB. What comes of it is no file's any more."""
        return Model.from_bytes, (self.to_proto().SerializeToString(),)

    def clone(self) -> "Model":
        """A model of its own with the same weights, which are shared: nobody modifies an array in place."""
        return Model(copying.copy(self._parts), self.source, self._interface)

    def save(self, path: str | Path) -> None:
        """Write the model to `path`, whole or not at all.

        Tensors that were external data stay so, in one file beside `path`; so do large new ones in a model that has
        external data or would exceed 2 GB. Raises ModelError where the graph is not sound or the file cannot be
        written; what was at `path` before is then as it was.
        """
        saving.save(self._exported(), Path(path), self._parts.folder, self.source)

    def to_proto(self) -> ModelProto:
        """The model as one message, weights and all. Raises ModelError above 2 GB."""
        return Exporter(self._parts).run().embed()

    def skeleton(self) -> ModelProto:
        """The model without its weights, for checkers and shape inference: from 1 KiB on they are inputs instead."""
        return Exporter(self._parts, lift_from=_LIFT_FROM_BYTES).run().embed()

    def size_bytes(self) -> int:
        """Bytes that `save` would write, file and external data; nearly, for the name of the data is not known."""
        export = self._exported()
        return message_bytes(export.proto) + saving.data_bytes(export)

    def _exported(self) -> Export:
        """The model with external data where it is to have such."""
        external_from = _EXTERNAL_FROM_BYTES if self._parts.folder.files or self._is_large() else None
        return Exporter(self._parts, external_from).run()

    def _is_large(self) -> bool:
        """Whether the constants alone exceed what one message can hold."""
        constants = (t for t in topology.named_tensors(self.graph).values() if isinstance(t, gs.Constant))
        return sum(values.stored_bytes(values.current_values(tensor)) for tensor in constants) > MAX_PROTO_BYTES

    def constant(self, tensor: gs.Tensor) -> NDArray[Any] | None:
        """The value of `tensor`, read-only, where it is known before anything runs, else None.

        Known are initializers that a caller cannot override, outputs of Constant nodes, and short expressions of these
        up to 1 GiB. Values are read when asked for and not kept. Raises ModelError where they cannot be read.
        """
        return folding.evaluate(tensor, self.opset, self._parts.folder)

    def stored_bytes(self, tensor: gs.Tensor) -> int | None:
        """Bytes that `tensor` takes in the file: an initializer, or the output of a Constant node; else None."""
        if any(tensor is port for port in self.graph.inputs):
            default = getattr(tensor, "origin", None)
            return None if default is None else values.stored_bytes(default)
        known = folding.constant_values(tensor, self._parts.folder)
        return None if known is None else values.stored_bytes(known)

    def is_captured(self, tensor: gs.Tensor) -> bool:
        """Whether a body of If, Loop or Scan reads `tensor`: it may not be renamed or removed."""
        return any(
            tensor is read
            for node in tensor.outputs
            if (names := attributes.captured(node))
            for read in node.inputs[len(node.inputs) - len(names) :]
        )

    def is_interface(self, tensor: gs.Tensor) -> bool:
        """Whether `tensor` is an input or output of the model."""
        return any(tensor is port for port in (*self.graph.inputs, *self.graph.outputs))

    def infer_shapes(self) -> None:
        """Fill in what shape inference finds of the type and shape of inner tensors; what is known stays.

        Nothing of it is saved. Where inference fails, types and shapes stay unknown.
        """
        found = shapes.infer(self.skeleton())
        for name, tensor in topology.named_tensors(self.graph).items():
            if name in found and isinstance(tensor, gs.Variable) and not self.is_interface(tensor):
                shapes.fill_in(tensor, found[name])

    def check(self) -> None:
        """Raise ModelError unless the graph is sound, passes onnx's checker and has its old interface."""
        checking.check_interface(self._interface, self.graph)
        checking.check_proto(self.skeleton())

    def sweep(self) -> list[str]:
        """Remove the nodes and initializers that no output depends on; returns their names.

        Inputs stay, with their default values, and so does what a body or a quantization annotation reads.
        """
        alive = {id(node) for node in topology.living(self.graph)}
        dead = [node for node in self.graph.nodes if id(node) not in alive]
        removed = [node.name or next((tensor.name for tensor in node.outputs), "") for node in dead]
        self.graph.nodes = [node for node in self.graph.nodes if id(node) in alive]
        for node in dead:
            node.inputs.clear()
            node.outputs.clear()
        kept = self._needed_names()
        unread = [tensor for tensor in self._parts.initializers if tensor.name not in kept]
        removed += [tensor.name for tensor in unread]
        self._parts.initializers[:] = [tensor for tensor in self._parts.initializers if tensor.name in kept]
        return removed

    def _needed_names(self) -> set[str]:
        """Names of the tensors that a node, the interface or a quantization annotation refers to."""
        ports = (*self.graph.inputs, *self.graph.outputs)
        names = {tensor.name for tensor in (*ports, *(t for node in self.graph.nodes for t in node.inputs))}
        for note in self._parts.shell.graph.quantization_annotation:
            names.update(entry.value for entry in note.quant_parameter_tensor_names)
        return names

    def raise_opset(self, version: int) -> None:
        """Bring the graph to `version` of the default operator set, or leave it where it is there or beyond.

        Nodes whose operator is the same in both stay as they are. Raises ModelError where it cannot be done.
        """
        if version <= self.opset:
            return
        newest = onnx.defs.onnx_opset_version()
        if version > newest:
            raise ModelError(f"onnx {onnx.__version__} knows no operator set {version}, only up to {newest}")
        conversion.check_functions(self._parts.shell.functions, version)
        skeleton = self.skeleton()
        types = shapes.infer(skeleton) | {
            value.name: value for value in (*skeleton.graph.input, *skeleton.graph.output)
        }
        taken = topology.named_tensors(self.graph).keys() | {tensor.name for tensor in self._parts.initializers}
        converter = conversion.Converter(self.opset, version, types, taken)
        conversion.convert_graph(self.graph, converter, self._parts.folder)
        imports = self._parts.shell.opset_import
        default = [entry for entry in imports if entry.domain in DEFAULT_DOMAINS] or [imports.add(domain="")]
        for entry in default:
            entry.version = version
        self._announce_versions()

    def add_function(self, function: FunctionProto) -> None:
        """Define a model-local function; one of the same name and signature is replaced.

        Its domain is imported at version 1 where it was not, the IR version raised to 8. Raises ModelError where the
        model has a function of that name that takes or gives something else.
        """
        shell = self._parts.shell
        existing = self.functions.get((function.domain, function.name))
        if existing is None:
            shell.functions.append(function)
        elif _signature(existing) != _signature(function):
            raise ModelError(
                f"the model has another function '{function.domain}::{function.name}', of other inputs or attributes"
            )
        elif existing != function:
            existing.CopyFrom(function)
        if all(entry.domain != function.domain for entry in shell.opset_import):
            shell.opset_import.add(domain=function.domain, version=1)
        shell.ir_version = max(shell.ir_version, _FIRST_IR_WITH_FUNCTIONS)
        self._announce_versions()

    def _announce_versions(self) -> None:
        """Let graphsurgeon's own methods see the versions in the shell."""
        self.graph.opset = self.opset
        self.graph.ir_version = self.ir_version
        self.graph.import_domains = list(self._parts.shell.opset_import)


def _signature(function: FunctionProto) -> tuple[list[str], list[str], set[str]]:
    attributes = {*function.attribute, *(attribute.name for attribute in function.attribute_proto)}
    return list(function.input), list(function.output), attributes
