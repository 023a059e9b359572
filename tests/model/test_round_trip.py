"""What is loaded and saved without a change is the same model, field for field and byte for byte."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.internal import encoder
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser

from onnxcomp.model import Model
from tests.model.full_model import full_model

_LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
_STANDARD = sorted((Path(onnx.__file__).parent / "backend/test/data").glob("*/*/model.onnx"))
_SHARED = sorted((Path(__file__).parents[2] / "../shared/models").resolve().glob("*.onnx"))


def _round_trip(proto: ModelProto, folder: Path) -> bytes:
    path = folder / "in.onnx"
    path.write_bytes(proto.SerializeToString())
    Model.load(path).save(folder / "out.onnx")
    return (folder / "out.onnx").read_bytes()


def test_every_field_of_every_message_survives(tmp_path: Path) -> None:
    proto = full_model()
    assert ModelProto.FromString(_round_trip(proto, tmp_path)) == proto
    assert Model.from_proto(proto).to_proto() == proto
    assert Model.from_proto(proto).clone().to_proto() == proto


def test_the_full_model_leaves_out_no_message_type() -> None:
    """The sample itself: each kind of message in onnx.proto but those that exclude one another occurs in it."""
    found: set[str] = set()
    waiting = [full_model()]
    while waiting:
        message = waiting.pop()
        found.add(message.DESCRIPTOR.full_name)
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting.extend(value if field.is_repeated else [value])
    known = {message.full_name for message in _message_types(ModelProto.DESCRIPTOR.file.message_types_by_name.values())}
    assert known - found == {
        "onnx.TensorProto.Segment",
        "onnx.TypeProto.Map",
        "onnx.TypeProto.SparseTensor",
        "onnx.TypeProto.Opaque",
    }


def _message_types(types: Iterable[Descriptor]) -> Iterator[Descriptor]:
    for message in types:
        yield message
        yield from _message_types(message.nested_types)


@pytest.mark.parametrize("kind", ["map_type", "sparse_tensor_type", "opaque_type"])
def test_inputs_of_other_kinds_survive(kind: str, tmp_path: Path) -> None:
    proto = parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[2] x) => (float[2] y) { y = Abs (x) }'
    )
    getattr(proto.graph.input.add(name="odd").type, kind).SetInParent()
    assert ModelProto.FromString(_round_trip(proto, tmp_path)) == proto


def test_fields_of_a_later_onnx_survive(tmp_path: Path) -> None:
    proto = full_model()
    tag = encoder.TagBytes(999, 2) + bytes([3]) + b"new"
    for message in (
        proto,
        proto.graph,
        proto.graph.node[0],
        proto.graph.node[1],
        proto.graph.initializer[0],
        proto.graph.input[0],
    ):
        message.MergeFromString(tag)
    before = proto.SerializeToString()
    assert before.count(tag) == 6
    assert _round_trip(proto, tmp_path).count(tag) == 6


def _typed(values: np.ndarray, name: str) -> TensorProto:
    """The values in the field for their type instead of raw bytes."""
    data_type = helper.np_dtype_to_tensor_dtype(values.dtype)
    return helper.make_tensor(name, data_type, values.shape, values.ravel())


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("data_type", sorted(set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED}))
def test_every_element_type_survives_and_reads_as_onnx_reads_it(data_type: int, raw: bool, tmp_path: Path) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(data_type)
    values = np.array(["a", "é", ""], object) if data_type == TensorProto.STRING else np.array([0, 1, 1], dtype)
    tensor = numpy_helper.from_array(values, "w") if raw else _typed(values, "w")
    graph = helper.make_graph([], "g", [], [helper.make_tensor_value_info("w", data_type, [3])], [tensor])
    proto = helper.make_model(graph)
    assert ModelProto.FromString(_round_trip(proto, tmp_path)) == proto
    model = Model.from_proto(proto)
    weight = model.graph.outputs[0]
    read = model.constant(weight)
    assert read is not None
    assert read.dtype == weight.dtype == dtype
    expected = numpy_helper.to_array(tensor)
    assert read.tolist() == expected.tolist() if read.dtype == object else read.tobytes() == expected.tobytes()
    if data_type != TensorProto.STRING and raw:
        assert model.stored_bytes(weight) == len(tensor.raw_data)


def test_an_array_of_a_narrow_type_is_stored_packed() -> None:
    proto = parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (int4[3] x) => (int4[3] y) { y = Identity (x) }'
    )
    model = Model.from_proto(proto)
    weight = gs.Constant("w", np.array([1, -2, 3], ml_dtypes.int4))
    model.graph.nodes[0].inputs[0] = weight
    [stored] = model.to_proto().graph.initializer
    assert len(stored.raw_data) == math.ceil(3 / 2) == model.stored_bytes(weight)
    np.testing.assert_array_equal(numpy_helper.to_array(stored), weight.values)


@pytest.mark.parametrize("path", [*_LIGHT, *_SHARED], ids=lambda path: path.stem)
def test_real_models_are_the_same_bytes(path: Path, tmp_path: Path) -> None:
    Model.load(path).save(tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == path.read_bytes()


@pytest.mark.skipif(not _SHARED, reason="../shared/models is not here")
def test_the_shared_models_were_found() -> None:
    assert len(_SHARED) > 10


def test_onnx_own_test_models_are_the_same_model() -> None:
    assert len(_STANDARD) > 100
    for path in _STANDARD:
        proto = onnx.load(path)
        assert Model.load(path).to_proto() == proto, path
