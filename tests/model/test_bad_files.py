"""Files that are no models, damaged ones and hostile ones: one line that says what is wrong, and soon."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, TensorProto, helper, parser

from onnxcomp.errors import ModelError
from onnxcomp.model import Model
from tests.model.full_model import full_model

_GOOD = (
    '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Add (x, w) }'
)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"not a model at all\n", "not an ONNX model"),
        (b"<html><body>404</body></html>", "not an ONNX model"),
        (b"PK\x03\x04" + bytes(100), "not an ONNX model"),
        (b"\x08\x07", "no graph"),
        (np.random.default_rng(0).bytes(10_000), "not an ONNX model"),
        (bytes(1000), "not an ONNX model"),
    ],
)
def test_what_is_no_model(content: bytes, message: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "in.onnx", content)
    with pytest.raises(ModelError, match=message) as caught:
        Model.load(path)
    assert str(caught.value).startswith(f"cannot load {path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.onnx", "No such file"), ("", "it is a folder"), ("a\0b", "null"), ("/dev/null", "not a regular file")],
)
def test_no_file(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=message):
        Model.load(tmp_path / name)


def test_a_file_over_2_gb_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "in.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(ModelError, match="larger than 2 GB"):
        Model.load(path)


@settings(deadline=None)
@given(st.data())
def test_a_truncated_model_is_an_error_or_a_model_that_saves(data: st.DataObject) -> None:
    content = full_model().SerializeToString()
    length = data.draw(st.integers(0, len(content) - 1))
    _load_or_refuse(content[:length])


@settings(deadline=None)
@given(st.data())
def test_a_damaged_model_is_an_error_or_a_model_that_saves(data: st.DataObject) -> None:
    content = bytearray(full_model().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _load_or_refuse(bytes(content))


def _load_or_refuse(content: bytes) -> None:
    try:
        proto = ModelProto.FromString(content)
    except Exception:  # noqa: BLE001 - whatever protobuf says: not our part here
        return
    try:
        model = Model.from_proto(proto)
    except ModelError as error:
        assert "\n" not in str(error)
        return
    assert _sorted(model.to_proto()) == _sorted(proto)


def _sorted(proto: ModelProto) -> bytes:
    """The bytes of the model, its nodes in any one order: damage may have put a reader before what it reads."""
    proto.graph.node.sort(key=lambda node: node.SerializeToString())
    return proto.SerializeToString()


def _edited(edit: Callable[[ModelProto], object]) -> ModelProto:
    proto = parser.parse_model(_GOOD)
    edit(proto)
    return proto


def _field(number: int, content: bytes) -> bytes:
    """A message as a field of another, as protobuf writes it."""
    length, prefix = len(content), b""
    while length > 127:
        length, prefix = length >> 7, prefix + bytes([length & 127 | 128])
    return bytes([number << 3 | 2]) + prefix + bytes([length]) + content


def _nested_bodies(depth: int) -> GraphProto:
    graph = GraphProto(name="leaf")
    for _ in range(depth):
        outer = GraphProto(name="g")
        outer.node.add(op_type="If").attribute.add(name="then_branch", type=5).g.CopyFrom(graph)
        graph = outer
    return graph


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p: p.ClearField("opset_import"), "names no operator set"),
        (lambda p: p.ClearField("graph"), "no graph"),
        (lambda p: p.ClearField("ir_version"), "no graph or no IR version"),
        (lambda p: setattr(p, "ir_version", 1000), "IR version 1000 is newer than onnx"),
        (lambda p: setattr(p.opset_import[0], "version", 1000), "operator set 1000 is newer than onnx"),
        (lambda p: p.graph.node[0].input.append("z"), "tensor 'z', read by node 'y' \\(Add\\), is not made by"),
        (lambda p: p.graph.output.add(name="z"), "tensor 'z', read by the graph's outputs"),
        (lambda p: p.graph.node.add(op_type="Abs", input=["x"], output=["y"]), "tensor 'y' has two sources"),
        (lambda p: p.graph.node.add(op_type="Abs", input=["x"], output=["x"]), "tensor 'x' has two sources"),
        (lambda p: p.graph.node.add(op_type="Abs", input=["x"], output=["w"]), "tensor 'w' has two sources"),
        (lambda p: p.graph.input.add(name="x"), "tensor 'x' has two sources"),
        (lambda p: p.graph.initializer.append(p.graph.initializer[0]), "tensor 'w' has two sources"),
        (lambda p: p.graph.node[0].input.__setitem__(1, "y"), "node 'y' \\(Add\\) wait for each other"),
        (lambda p: p.graph.initializer[0].dims.append(3), "shape \\[2, 3\\] needs 6 values, the file holds 2"),
        (lambda p: p.graph.initializer[0].dims.__setitem__(0, -2), "negative dimension in \\[-2\\]"),
        (lambda p: p.graph.initializer[0].dims.extend([2**40] * 3), "the file holds 2"),
        (lambda p: setattr(p.graph.initializer[0], "raw_data", b"123"), "needs 8 bytes, the file holds 3"),
        (lambda p: setattr(p.graph.initializer[0], "data_type", 99), "unknown element type 99"),
        (lambda p: setattr(p.graph.initializer[0], "data_type", 0), "unknown element type 0"),
        (lambda p: setattr(p.graph.initializer[0], "data_type", TensorProto.STRING), "the file holds 0"),
        (lambda p: p.graph.initializer[0].segment.SetInParent(), "stored in segments"),
        (lambda p: p.graph.initializer[0].ClearField("float_data"), "the file holds 0"),
    ],
)  # fmt: skip
def test_unsound_models(edit: Callable[[ModelProto], object], message: str, tmp_path: Path) -> None:
    proto = _edited(edit)
    with pytest.raises(ModelError, match=message) as caught:
        Model.from_proto(proto)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match=message):
        Model.load(_write(tmp_path / "in.onnx", proto.SerializeToString()))


def test_overridable_initializers_count_once() -> None:
    proto = parser.parse_model(_GOOD)
    proto.graph.input.append(helper.make_tensor_value_info("w", 1, [2]))
    Model.from_proto(proto)
    proto.graph.initializer.append(proto.graph.initializer[0])
    with pytest.raises(ModelError, match="tensor 'w' has two initializers"):
        Model.from_proto(proto)


def test_nodes_in_the_wrong_order_are_put_right() -> None:
    """The standard forbids it, the runtime does not mind: neither do we."""
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { a = Abs (x) y = Neg (a) }'
    )
    swapped = ModelProto()
    swapped.CopyFrom(proto)
    swapped.graph.node.reverse()
    assert Model.from_proto(swapped).to_proto() == proto


def test_bodies_and_types_nested_without_end(tmp_path: Path) -> None:
    proto = _edited(lambda p: p.graph.node.add().attribute.add(name="b", type=5).g.CopyFrom(_nested_bodies(2000)))
    with pytest.raises(ModelError):
        Model.from_proto(proto)
    with pytest.raises(ModelError, match="not an ONNX model"):
        Model.load(_write(tmp_path / "in.onnx", proto.SerializeToString()))
    type_ = b""
    for _ in range(1000):  # a sequence of sequences of ...: TypeProto.sequence_type is field 4, its elem_type 1
        type_ = _field(4, _field(1, type_))
    graph = _field(7, _field(13, _field(2, type_)))
    with pytest.raises(ModelError, match="not an ONNX model"):
        Model.load(_write(tmp_path / "in.onnx", parser.parse_model(_GOOD).SerializeToString() + graph))


def test_the_deepest_bodies_that_protobuf_reads_are_handled(tmp_path: Path) -> None:
    proto = _edited(
        lambda p: p.graph.node.add(op_type="If").attribute.add(name="b", type=5).g.CopyFrom(_nested_bodies(31))
    )
    path = _write(tmp_path / "in.onnx", proto.SerializeToString())
    assert Model.load(path).to_proto() == proto == onnx.load(path)


def test_a_chain_of_many_nodes_is_no_recursion() -> None:
    nodes = [helper.make_node("Abs", [f"t{i}"], [f"t{i + 1}"]) for i in range(20_000)]
    ports = (helper.make_tensor_value_info(name, 1, [2]) for name in ("t0", "t20000"))
    proto = helper.make_model(helper.make_graph(nodes[::-1], "g", *([port] for port in ports)))
    model = Model.from_proto(proto)
    assert [node.input[0] for node in model.to_proto().graph.node] == [f"t{i}" for i in range(20_000)]
    assert model.clone().sweep() == []
