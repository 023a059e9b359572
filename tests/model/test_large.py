"""A model of 3 GB goes from file to file without ever being in memory."""

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

_TENSORS = 6
_BYTES = 500 << 20

_LOAD_AND_SAVE = """
import json, resource, sys
from onnxcomp.errors import ModelError
from onnxcomp.model import Model
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = Model.load(sys.argv[1])
model.check()
size = model.size_bytes()
model.save(sys.argv[2])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    model.to_proto()
except ModelError as error:
    refusal = str(error)
print(json.dumps({"start": start, "peak": peak, "size": size, "refusal": refusal}))
"""


def _write(folder: Path) -> Path:
    """A chain of Adds of large weights. The data file is a hole in the disk but for one word in each tensor."""
    tensors = []
    with (folder / "in.data").open("wb") as data:
        data.truncate(_TENSORS * _BYTES)
        for index in range(_TENSORS):
            data.seek((index + 1) * _BYTES - 4)
            data.write(bytes([index] * 4))
            tensor = TensorProto(name=f"w{index}", data_type=TensorProto.FLOAT, dims=[_BYTES // 4])
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", "in.data"), ("offset", index * _BYTES), ("length", _BYTES)):
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
    nodes = [helper.make_node("Add", [f"t{i}", f"w{i}"], [f"t{i + 1}"]) for i in range(_TENSORS)]
    ports = ([helper.make_tensor_value_info(name, 1, [_BYTES // 4])] for name in ("t0", f"t{_TENSORS}"))
    graph = helper.make_graph(nodes, "g", *ports, tensors)
    proto = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    (folder / "in.onnx").write_bytes(proto.SerializeToString())
    return folder / "in.onnx"


@pytest.mark.large
def test_three_gigabytes_are_streamed(tmp_path: Path) -> None:
    source = _write(tmp_path)
    out = tmp_path / "out.onnx"
    command = [sys.executable, "-c", _LOAD_AND_SAVE, str(source), str(out)]
    process = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    result = json.loads(process.stdout)
    assert (result["peak"] - result["start"]) * 1024 < 100 << 20
    assert "over 2 GB" in result["refusal"]
    [data] = tmp_path.glob("out.onnx.*.data")
    assert data.stat().st_size == _TENSORS * _BYTES
    assert abs(data.stat().st_size + out.stat().st_size - result["size"]) < 1000
    for index, tensor in enumerate(onnx.load(out, load_external_data=False).graph.initializer):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        with data.open("rb") as file:
            file.seek(int(entries["offset"]) + _BYTES - 8)
            assert file.read(8) == bytes(4) + bytes([index] * 4)
