"""Attributes of a node: protobuf messages to the plain values that graphsurgeon works with, and back.

FLOAT, INT, FLOATS, INTS   float, int, list of them
STRING, STRINGS            str; bytes where it is not UTF-8
TENSOR                     gs.Constant, its values lazy
GRAPH, GRAPHS              Body: opaque
anything else              the AttributeProto itself: opaque
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, GraphProto, helper

from onnxcomp.errors import PassError
from onnxcomp.model import protos
from onnxcomp.model.external import DataFolder
from onnxcomp.model.stored import Stored, StoredSparse
from onnxcomp.model.values import current_values, tensor_message


@dataclass(frozen=True, eq=False)
class Body:
    """A graph inside a node, kept as it is.

    The node has, after its own inputs, one input for each name in the `captured` of its bodies (each name once): so
    whoever asks what reads a tensor, or sorts or sweeps the graph, sees what the body reads.
    """

    proto: GraphProto
    captured: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "captured", tuple(protos.captured_names(self.proto)))


def bodies(attributes: Mapping[str, Any]) -> list[Body]:
    """The bodies among a node's attributes."""
    values = [value if isinstance(value, list) else [value] for value in attributes.values()]
    return [item for items in values for item in items if isinstance(item, Body)]


def captured(node: gs.Node) -> list[str]:
    """Names that the bodies of `node` read from outside, in the order of its last inputs."""
    return list(dict.fromkeys(name for body in bodies(node.attrs) for name in body.captured))


def import_attribute(attribute: AttributeProto, folder: DataFolder) -> Any:
    """The plain value of `attribute`; see the module's head."""
    if attribute.ref_attr_name:
        return attribute
    match attribute.type:
        case AttributeProto.FLOAT:
            return attribute.f
        case AttributeProto.INT:
            return attribute.i
        case AttributeProto.STRING:
            return _text(attribute.s)
        case AttributeProto.FLOATS:
            return list(attribute.floats)
        case AttributeProto.INTS:
            return list(attribute.ints)
        case AttributeProto.STRINGS:
            return [_text(text) for text in attribute.strings]
        case AttributeProto.TENSOR:
            constant = gs.Constant(attribute.t.name, Stored(attribute.t, folder))
            constant.origin = constant._values
            return constant
        case AttributeProto.GRAPH:
            return Body(attribute.g)
        case AttributeProto.GRAPHS:
            return [Body(graph) for graph in attribute.graphs]
        case _:
            return attribute


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def is_unchanged(value: Any, attribute: AttributeProto) -> bool:
    """Whether `value` is still what `import_attribute` made of `attribute`."""
    if isinstance(value, AttributeProto):
        return value is attribute or value == attribute
    match attribute.type:
        case AttributeProto.TENSOR:
            values = current_values(value) if isinstance(value, gs.Constant) else None
            return isinstance(values, Stored) and values.tensor is attribute.t and value.name == attribute.t.name
        case AttributeProto.GRAPH:
            return _are_bodies([value], [attribute.g])
        case AttributeProto.GRAPHS:
            return isinstance(value, list) and _are_bodies(value, attribute.graphs)
        case plain if plain in _PLAIN:
            return _same(value, getattr(attribute, _PLAIN[plain]))
        case _:
            return False


def _are_bodies(values: Sequence[Any], graphs: Sequence[GraphProto]) -> bool:
    return len(values) == len(graphs) and all(
        isinstance(value, Body) and (value.proto is graph or value.proto == graph)
        for value, graph in zip(values, graphs, strict=True)
    )


_PLAIN = {
    AttributeProto.FLOAT: "f",
    AttributeProto.INT: "i",
    AttributeProto.STRING: "s",
    AttributeProto.FLOATS: "floats",
    AttributeProto.INTS: "ints",
    AttributeProto.STRINGS: "strings",
}


def _same(value: Any, stored: Any) -> bool:
    """Whether the plain `value` is stored as `stored`: numbers bit for bit, text as UTF-8."""
    if isinstance(value, (str, bytes)):
        return isinstance(stored, bytes) and _encoded(value) == stored
    if isinstance(value, (list, tuple)):
        stored = None if isinstance(stored, (bytes, int, float)) else list(stored)
        return stored is not None and len(value) == len(stored) and all(map(_same, value, stored))
    if isinstance(value, float) and isinstance(stored, float):
        return value.hex() == stored.hex()
    return type(value) is type(stored) and bool(value == stored)


def _encoded(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def export_attribute(name: str, value: Any, op: str) -> AttributeProto:
    """The message for a plain value. Raises PassError for what ONNX has no attribute for."""
    try:
        match value:
            case AttributeProto():
                result = AttributeProto()
                result.CopyFrom(value)
                result.name = name
                return result
            case type() | np.dtype():  # graphsurgeon's way to say an element type
                return helper.make_attribute(name, helper.np_dtype_to_tensor_dtype(np.dtype(value)))
            case [] | ():
                return helper.make_attribute(name, value, attr_type=_declared_type(op, name))
            case list() | tuple():
                return helper.make_attribute(name, [_message(item) for item in value])
            case _:
                return helper.make_attribute(name, _message(value))
    except (TypeError, ValueError, KeyError, onnx.defs.SchemaError) as error:
        raise PassError(f"attribute {name!r} of a {op} node cannot be stored: {error}") from error


def _message(value: Any) -> Any:
    match value:
        case Body():
            return value.proto
        case gs.Constant():
            values = current_values(value)
            if isinstance(values, StoredSparse):
                return values.tensor
            return tensor_message(value.name, values, value.origin.tensor if hasattr(value, "origin") else None)
        case gs.Graph():
            raise TypeError("a subgraph made by graphsurgeon is not supported, give an AttributeProto")
        case Mapping() | Set():
            raise TypeError(f"ONNX has no {type(value).__name__}")
        case _:
            return value


def _declared_type(op: str, name: str) -> int:
    """The type that the operator's schema gives the attribute: an empty list does not show its own."""
    return cast(int, onnx.defs.get_schema(op).attributes[name].type)
