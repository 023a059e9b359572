"""A model with every field of every ONNX message set, so that a field nobody thought of is noticed when it is lost."""

import itertools
from collections.abc import Iterator

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper, parser

# Fields that say what the model computes: the model below has them where they make sense.
_STRUCTURE = {
    "ModelProto": {"ir_version", "opset_import", "graph"},
    "GraphProto": {"node", "initializer", "sparse_initializer", "input", "output"},
    "NodeProto": {"input", "output", "op_type", "domain", "attribute"},
    "FunctionProto": {"input", "output", "node", "opset_import", "name", "domain"},
    "SparseTensorProto": {"values", "indices", "dims"},
    "TensorProto": {
        *("dims", "data_type", "segment", "raw_data", "external_data", "data_location"),
        *("float_data", "int32_data", "int64_data", "string_data", "double_data", "uint64_data"),
    },
    "AttributeProto": {field.name for field in AttributeProto.DESCRIPTOR.fields} - {"doc_string"},
    "TensorShapeProto": {"dim"},
    "Dimension": {"dim_value", "dim_param"},
}

_BODY = """
<ir_version: 10, opset_import: ["" : 21, "custom" : 3]>
agraph (float[N, 4] x, bool flag, float[4] scale, seq(float[2]) unused_sequence, optional(float[2]) unused_optional)
    => (float[N, 4] y, int64[2] constant_output, float z)
    <float[4] scale = {1, 2, 3, 4}, float[4] shift = {5, 6, 7, 8}, int64[2] constant_output = {1, 2},
     float[1] never_read = {9}>
{
    [first] h = Add (x, scale)
    [branch] k = If (flag) <
        then_branch = yes () => (float[N, 4] a) { a = Mul (h, shift) },
        else_branch = no () => (float[N, 4] b) { b = Sub (x, shift) }
    >
    [constant] c = Constant <value = float[1] {0.5}> ()
    [special] m, n = custom.Special <strings = ["a", "b"], empty = "", ratio = 0.1> (k, , c)
    [called] y = custom.Doubled <by = 2> (m)
    [dense] z = ReduceSum <keepdims = 0> (sparse)
}
<domain: "custom", opset_import: ["" : 21]> Doubled <by> (p) => (q) { q = Add (p, p) }
"""


def full_model() -> ModelProto:
    """The model; it is sound in itself, though not one that a runtime would take."""
    model = parser.parse_model(_BODY)
    model.ir_version = onnx.IR_VERSION
    values = numpy_helper.from_array(np.array([3.0, 4.0], np.float32), "sparse")
    indices = numpy_helper.from_array(np.array([1, 5], np.int64), "")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 3]))
    _add_odd_attributes(model.graph)
    counter = itertools.count(1)
    _fill(model, counter)
    return model


def _add_odd_attributes(graph: GraphProto) -> None:
    """Attribute kinds for which the text form of a model has no words, and bytes that are no text."""
    special = next(node for node in graph.node if node.name == "special")
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])
    sparse = helper.make_sparse_tensor(tensor, helper.make_tensor("", TensorProto.INT64, [1], [0]), [2])
    type_ = helper.make_tensor_type_proto(TensorProto.FLOAT, [None, "K"])
    special.attribute.extend(
        [
            helper.make_attribute("blob", b"\xff\x00\xfe"),
            helper.make_attribute("blobs", [b"\xff", b"text"]),
            helper.make_attribute("tensors", [tensor, tensor]),
            helper.make_attribute("sparse", sparse),
            helper.make_attribute("sparses", [sparse]),
            helper.make_attribute("type", type_),
            helper.make_attribute("types", [type_]),
            helper.make_attribute("graphs", [GraphProto(name="inner")]),
            helper.make_attribute("no_ints", [], attr_type=AttributeProto.INTS),
            helper.make_attribute("nan", float("nan")),
        ]
    )


def _fill(message: Message, counter: Iterator[int]) -> None:
    """Set every field of `message` that is not set, and so on inside; leave out what would change its meaning."""
    kept = _STRUCTURE.get(message.DESCRIPTOR.name, set())
    for field in message.DESCRIPTOR.fields:
        if field.name not in kept and not _is_set(message, field):
            _set(message, field, counter)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                _fill(inner, counter)


def _is_set(message: Message, field: FieldDescriptor) -> bool:
    if field.is_repeated:
        return len(getattr(message, field.name)) > 0
    if field.containing_oneof is not None:
        return message.WhichOneof(field.containing_oneof.name) is not None
    return message.HasField(field.name)


def _set(message: Message, field: FieldDescriptor, counter: Iterator[int]) -> None:
    if field.message_type is not None:
        if field.is_repeated:
            getattr(message, field.name).add()
        else:
            getattr(message, field.name).SetInParent()
    elif field.is_repeated:
        getattr(message, field.name).append(_sample(field, counter))
    else:
        setattr(message, field.name, _sample(field, counter))


def _sample(field: FieldDescriptor, counter: Iterator[int]) -> object:
    if field.enum_type is not None:
        return field.enum_type.values[1].number
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            text = f"{field.name}_{next(counter)}"
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return 0.5
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case _:
            return 1
