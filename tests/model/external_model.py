"""A model with external data, as an exporter would write it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

WEIGHTS = {
    "first": np.arange(2048, dtype=np.float32).reshape(32, 64),
    "second": np.arange(2048, 0, -1, dtype=np.float32).reshape(64, 32),
}


def external_model() -> tuple[ModelProto, bytes]:
    """y = x * first * second + bias, the two matrices external in "weights.bin"; `bias` is not. The data too."""
    data = b"".join(weight.tobytes() for weight in WEIGHTS.values())
    tensors = [numpy_helper.from_array(np.ones(32, np.float32), "bias")]
    offset = 0
    for name, weight in WEIGHTS.items():
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=weight.shape, doc_string=f"the {name}")
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": "weights.bin", "offset": offset, "length": weight.nbytes, "checksum": "0" * 40}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        tensors.append(tensor)
        offset += weight.nbytes
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"], "one"),
        helper.make_node("MatMul", ["a", "second"], ["b"], "two"),
        helper.make_node("Add", ["b", "bias"], ["y"], "three"),
    ]
    ports = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 32])] for name in ("x", "y"))
    graph = helper.make_graph(nodes, "g", *ports, tensors)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), data


def write(folder: Path, name: str = "in.onnx") -> Path:
    """The model and its data in `folder`."""
    proto, data = external_model()
    (folder / "weights.bin").write_bytes(data)
    (folder / name).write_bytes(proto.SerializeToString())
    return folder / name


def embedded(path: Path) -> dict[str, list[float]]:
    """What onnx itself reads of the initializers of the model in `path`."""
    return {tensor.name: numpy_helper.to_array(tensor).ravel().tolist() for tensor in onnx.load(path).graph.initializer}
