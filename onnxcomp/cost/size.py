"""How many bytes a model takes on disk."""

from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, TensorProto
from onnx.external_data_helper import uses_external_data

from onnxcomp.errors import ModelError


def file_bytes(path: str | Path) -> int:
    """The file and every file of external data that it names, each counted once. Raises ModelError."""
    path = Path(path)
    try:
        model = onnx.load(path, load_external_data=False)
        tensors = [*_tensors(model.graph), *(t for f in model.functions for n in f.node for t in _held(n.attribute))]
        places = {
            entry.value
            for t in tensors
            if uses_external_data(t)
            for entry in t.external_data
            if entry.key == "location"
        }
        files: set[Path] = {(path.parent / place).resolve() for place in places}
        return path.stat().st_size + sum(file.stat().st_size for file in files)
    except OSError as error:
        raise ModelError(f"{error.filename}: cannot be read: {error.strerror}") from error
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX model; give one") from error


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _held(node.attribute)


def _held(attributes: list[AttributeProto]) -> Iterator[TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            yield from _tensors(graph)
