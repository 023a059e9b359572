"""External data: read lazily, kept external, never from outside the model's folder."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, parser

from onnxcomp.errors import ModelError
from onnxcomp.model import Model
from tests.model.external_model import WEIGHTS, embedded, external_model, write


def _entries(path: Path) -> dict[str, dict[str, str]]:
    """The external-data entries of each initializer that has such."""
    proto = onnx.load(path, load_external_data=False)
    tensors = (tensor for tensor in proto.graph.initializer if tensor.data_location == TensorProto.EXTERNAL)
    return {tensor.name: {entry.key: entry.value for entry in tensor.external_data} for tensor in tensors}


def test_what_was_external_stays_so_and_nothing_else_changes(tmp_path: Path) -> None:
    source = write(tmp_path)
    out = tmp_path / "elsewhere" / "out.onnx"
    out.parent.mkdir()
    Model.load(source).save(out)
    [data] = out.parent.glob("*.data")
    assert data.name.startswith("out.onnx.")
    assert _entries(out) == {
        "first": {"location": data.name, "offset": "0", "length": "8192"},
        "second": {"location": data.name, "offset": "8192", "length": "8192"},
    }
    assert embedded(out) == embedded(source)
    before, after = (onnx.load(path, load_external_data=False) for path in (source, out))
    for proto in (before, after):
        for tensor in proto.graph.initializer:
            tensor.ClearField("external_data")
    assert before == after


def test_offset_and_length_need_not_be_given(tmp_path: Path) -> None:
    source = write(tmp_path)
    proto = onnx.load(source, load_external_data=False)
    del proto.graph.initializer[1].external_data[1:]
    source.write_bytes(proto.SerializeToString())
    model = Model.load(source)
    value = model.constant(model.graph.tensors()["first"])
    assert value is not None
    assert value.tolist() == WEIGHTS["first"].tolist()


def test_keys_that_nobody_knows_stay(tmp_path: Path) -> None:
    source = write(tmp_path)
    proto = onnx.load(source, load_external_data=False)
    proto.graph.initializer[1].external_data.add(key="custom", value="kept")
    source.write_bytes(proto.SerializeToString())
    Model.load(source).save(tmp_path / "out.onnx")
    assert _entries(tmp_path / "out.onnx")["first"]["custom"] == "kept"


def test_tensors_are_aligned_to_pages(tmp_path: Path) -> None:
    model = Model.load(write(tmp_path))
    model.graph.tensors()["first"].values = np.ones((32, 65), np.float32)
    model.save(tmp_path / "out.onnx")
    entries = _entries(tmp_path / "out.onnx")
    assert [entry["offset"] for entry in entries.values()] == ["0", "12288"]
    written = (tmp_path / "out.onnx").stat().st_size + 12288 + 8192
    assert abs(model.size_bytes() - written) < 200  # the names of files are not known beforehand


def test_the_runtime_reads_the_saved_model(tmp_path: Path) -> None:
    source = write(tmp_path)
    Model.load(source).save(tmp_path / "out.onnx")
    x = np.random.default_rng(0).normal(size=(3, 32)).astype(np.float32)
    before, after = (
        ort.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for name in ("in.onnx", "out.onnx")
    )
    np.testing.assert_array_equal(before, after)


def test_values_are_read_when_asked_for(tmp_path: Path) -> None:
    model = Model.load(write(tmp_path))
    for name, weight in WEIGHTS.items():
        tensor = model.graph.tensors()[name]
        assert (tensor.shape, tensor.dtype) == (weight.shape, weight.dtype)
        assert model.stored_bytes(tensor) == weight.nbytes
        value = model.constant(tensor)
        assert value is not None
        np.testing.assert_array_equal(value, weight)
        assert not value.flags.writeable


def test_the_message_has_the_weights_inside(tmp_path: Path) -> None:
    proto = Model.load(write(tmp_path)).to_proto()
    for tensor in proto.graph.initializer:
        assert not tensor.external_data
        assert not tensor.HasField("data_location")
    assert numpy_helper.to_array(proto.graph.initializer[1]).tolist() == WEIGHTS["first"].tolist()


def test_large_new_weights_go_external_and_small_ones_do_not(tmp_path: Path) -> None:
    model = Model.load(write(tmp_path))
    model.graph.nodes[0].inputs[1] = gs.Constant("large", np.ones((32, 64), np.float32))
    model.graph.nodes[2].inputs[1] = gs.Constant("small", np.ones(32, np.float32))
    model.sweep()
    model.save(tmp_path / "out.onnx")
    assert sorted(_entries(tmp_path / "out.onnx")) == ["large", "second"]
    assert sorted(embedded(tmp_path / "out.onnx")) == ["large", "second", "small"]


def test_a_model_without_external_data_gets_none(tmp_path: Path) -> None:
    proto = parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> g (float[N] x) => (y) { y = Abs (x) }')
    model = Model.from_proto(proto)
    model.graph.nodes[0].op = "Add"
    model.graph.nodes[0].inputs.append(gs.Constant("w", np.ones(100_000, np.float32)))
    model.save(tmp_path / "out.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]


def test_a_model_that_outgrows_one_message_goes_external(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcomp.model.model.MAX_PROTO_BYTES", 10_000)
    proto = parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> g (float[N] x) => (y) { y = Abs (x) }')
    model = Model.from_proto(proto)
    model.graph.nodes[0].op = "Add"
    model.graph.nodes[0].inputs.append(gs.Constant("w", np.ones(100_000, np.float32)))
    model.save(tmp_path / "out.onnx")
    assert list(_entries(tmp_path / "out.onnx")) == ["w"]
    assert embedded(tmp_path / "out.onnx")["w"] == [1.0] * 100_000


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    proto, data = external_model()
    proto.graph.initializer[2].external_data[1].value = "0"
    (tmp_path / "weights.bin").write_bytes(data)
    (tmp_path / "in.onnx").write_bytes(proto.SerializeToString())
    Model.load(tmp_path / "in.onnx").save(tmp_path / "out.onnx")
    [saved] = tmp_path.glob("out.onnx.*.data")
    assert saved.read_bytes() == data[:8192]


def test_narrow_types_are_packed_in_the_file(tmp_path: Path) -> None:
    values = np.array(
        [1, -2, 3, -4, 5], "int4" if hasattr(np, "int4") else helper.tensor_dtype_to_np_dtype(TensorProto.INT4)
    )
    model = Model.load(write(tmp_path))
    tensor = model.graph.tensors()["second"]
    tensor.values = values
    model.save(tmp_path / "out.onnx")
    assert _entries(tmp_path / "out.onnx")["second"]["length"] == "3"
    again = Model.load(tmp_path / "out.onnx")
    read = again.constant(again.graph.tensors()["second"])
    assert read is not None
    assert read.tolist() == values.tolist()


def test_external_data_in_bodies_attributes_and_sparse_tensors_moves_along(tmp_path: Path) -> None:
    def external(name: str, offset: int, count: int, data_type: int = TensorProto.FLOAT) -> TensorProto:
        tensor = TensorProto(name=name, data_type=data_type, dims=[count], data_location=TensorProto.EXTERNAL)
        for key, value in {"location": "w.bin", "offset": str(offset)}.items():
            tensor.external_data.add(key=key, value=value)
        return tensor

    proto = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[300] x, bool flag) => (float[300] y)
        { c = Constant <value = float {0}> () d = Add (x, c)
          y = If (flag) < then_branch = a () => (float[300] t) { t = Add (d, inner) },
                          else_branch = b () => (float[300] u) { u = Identity (d) } > }"""
    )
    data = np.arange(900, dtype=np.float32)
    proto.graph.node[0].attribute[0].t.CopyFrom(external("", 0, 300))
    body = proto.graph.node[2].attribute[0].g
    body.initializer.append(external("inner", 1200, 300))
    sparse = helper.make_sparse_tensor(external("s", 2400, 2), external("", 3208, 2, TensorProto.INT64), [400])
    proto.graph.sparse_initializer.append(sparse)
    file = bytearray(data.tobytes())
    file[3208:3224] = np.array([3, 7], np.int64).tobytes()
    (tmp_path / "w.bin").write_bytes(file)
    (tmp_path / "in.onnx").write_bytes(proto.SerializeToString())

    model = Model.load(tmp_path / "in.onnx")
    assert model.skeleton().ByteSize() < 2000
    out = tmp_path / "moved" / "out.onnx"
    out.parent.mkdir()
    model.save(out)
    expected = model.to_proto()
    assert numpy_helper.to_array(expected.graph.node[0].attribute[0].t).tolist() == data[:300].tolist()
    assert (
        numpy_helper.to_array(expected.graph.node[2].attribute[0].g.initializer[0]).tolist() == data[300:600].tolist()
    )
    assert Model.load(out).to_proto() == expected


def _with_entry(key: str, value: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        proto = onnx.load(folder / "in.onnx", load_external_data=False)
        entries = {entry.key: entry for entry in proto.graph.initializer[2].external_data}
        entries[key].value = value
        (folder / "in.onnx").write_bytes(proto.SerializeToString())

    return spoil


def _truncate(folder: Path) -> None:
    with (folder / "weights.bin").open("r+b") as file:
        file.truncate(16383)


def _link_outside(folder: Path) -> None:
    (folder / "weights.bin").rename(folder.parent / "outside.bin")
    (folder / "weights.bin").symlink_to(folder.parent / "outside.bin")


def _make_fifo(folder: Path) -> None:
    (folder / "weights.bin").unlink()
    os.mkfifo(folder / "weights.bin")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "weights.bin").unlink(), "external data 'weights.bin' is missing from"),
        (_truncate, "is truncated: 16384 bytes needed, it has 16383"),
        (_link_outside, "external data 'weights.bin' is outside the model's folder"),
        (_make_fifo, "is not a regular file"),
        (_with_entry("location", "../outside.bin"), "'../outside.bin' is outside the model's folder"),
        (_with_entry("location", "/etc/passwd"), "'/etc/passwd' is outside the model's folder"),
        (_with_entry("location", ""), "without a proper location"),
        (_with_entry("location", "."), "is not a regular file"),
        (_with_entry("location", "a\0b"), "without a proper location"),
        (_with_entry("location", "x" * 5000), "File name too long"),
        (_with_entry("offset", "-1"), "offset is '-1', not a number of bytes"),
        (_with_entry("offset", "9" * 30), "not a number of bytes"),
        (_with_entry("offset", "99999999999"), "is truncated"),
        (_with_entry("offset", "٣"), "not a number of bytes"),
        (_with_entry("length", "10"), "needs 8192 bytes, its external data has 10"),
        (_with_entry("length", "1e3"), "not a number of bytes"),
    ],
)
def test_bad_external_data_is_one_line(spoil: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    path = write(folder)
    spoil(folder)
    with pytest.raises(ModelError, match=message) as caught:
        Model.load(path)
    assert str(caught.value).startswith(f"cannot load {path}: tensor '") or "external data" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_from_memory_needs_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    with pytest.raises(ModelError, match="load the model from its file"):
        Model.from_proto(proto)
    assert Model.from_proto(proto, tmp_path).to_proto() == Model.load(path).to_proto()


def test_data_that_changed_since_loading_is_not_mixed_in(tmp_path: Path) -> None:
    path = write(tmp_path)
    model = Model.load(path)
    shutil.copy(tmp_path / "weights.bin", tmp_path / "copy")
    (tmp_path / "copy").replace(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match="was changed after the model was loaded"):
        model.save(tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_strings_cannot_be_external(tmp_path: Path) -> None:
    path = write(tmp_path)
    proto = ModelProto.FromString(path.read_bytes())
    proto.graph.initializer[1].data_type = TensorProto.STRING
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="strings cannot be external data"):
        Model.load(path)
