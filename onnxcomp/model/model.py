"""The model under work: a graphsurgeon graph that passes rewrite, and the envelope of everything else in the file."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import FunctionProto, ModelProto

from onnxcomp.errors import ModelError
from onnxcomp.model import attributes, checking, conversion, copying, folding, protos, saving, tensors, topology, typing_
from onnxcomp.model.exporter import Export, Exporter, Parts
from onnxcomp.model.external import DataFolder
from onnxcomp.model.importer import Importer, default_opset
from onnxcomp.model.reading import MAX_PROTO_BYTES, check_header, read_proto

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
        copy = ModelProto()
        copy.CopyFrom(proto)
        check_header(copy)
        return cls._adopt(copy, base_dir, None)

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
        """The version of the default operator set."""
        return default_opset(self._parts.shell)

    @property
    def ir_version(self) -> int:
        """The version of the file format."""
        return int(self._parts.shell.ir_version)

    @property
    def functions(self) -> Mapping[tuple[str, str], FunctionProto]:
        """The model-local functions by domain and name."""
        return MappingProxyType({(function.domain, function.name): function for function in self._parts.shell.functions})

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
        """The model without its weights: those of 1 KiB and more are inputs instead. For checkers and shape inference."""
        return Exporter(self._parts, lift_from=_LIFT_FROM_BYTES).run().embed()

    def size_bytes(self) -> int:
        """Bytes that `save` would write: the file and its external data."""
        export = self._exported()
        return export.proto.ByteSize() + saving.data_bytes(export)

    def _exported(self) -> Export:
        """The model with external data where it is to have such."""
        external_from = _EXTERNAL_FROM_BYTES if self._parts.folder.files or self._is_large() else None
        return Exporter(self._parts, external_from).run()

    def _is_large(self) -> bool:
        """Whether the constants alone exceed what one message can hold."""
        constants = (t for t in topology.named_tensors(self.graph).values() if isinstance(t, gs.Constant))
        return sum(tensors.stored_bytes(tensors.current_values(tensor)) for tensor in constants) > MAX_PROTO_BYTES

    def constant(self, tensor: gs.Tensor) -> NDArray[Any] | None:
        """The value of `tensor`, read-only, where it is known before anything runs, else None.

        Known are initializers that a caller cannot override, outputs of Constant nodes, and short expressions of these
        up to 1 GiB. Values are read when asked for and not kept. Raises ModelError where they cannot be read.
        """
        return folding.evaluate(tensor, self.opset, self._parts.folder)

    def stored_bytes(self, tensor: gs.Tensor) -> int | None:
        """Bytes that `tensor` takes in the file: an initializer, or the output of a Constant node; else None."""
        if getattr(tensor, "origin", None) is not None:
            return tensors.stored_bytes(tensors.current_values(tensor))
        values = folding.constant_values(tensor, self._parts.folder)
        return None if values is None else tensors.stored_bytes(values)

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
