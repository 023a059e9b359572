"""BasisConv as it stands in a file: its body convolves with sums of the bases, at a dense Conv's cost; frozen bytes."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from onnxcomp.formats import basis_conv
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.formats.sparse_conv import Epilogue

KERNELS = pytest.mark.parametrize("kernel", [(3, 3), (1, 4), (5,)])


def random_arrays(kernel: tuple[int, ...], bases: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients (8, 6, bases), bases (bases, *kernel) and X (2, 6, 9...)."""
    rng = np.random.default_rng(len(kernel))
    coefficients = rng.standard_normal((8, 6, bases), np.float32) * (rng.random((8, 6, bases)) < 0.3)
    x = rng.standard_normal((2, 6) + (9,) * len(kernel), np.float32)
    return coefficients.astype(np.float32), rng.standard_normal((bases, *kernel), np.float32), x


def value_infos(x: np.ndarray) -> list[list[ValueInfoProto]]:
    """The inputs and the outputs of a graph X -> Y."""
    shapes = {"X": list(x.shape), "Y": list("NCHW")[: x.ndim]}
    return [[helper.make_tensor_value_info(name, 1, shape)] for name, shape in shapes.items()]


def basis_model(coefficients: np.ndarray, bases: np.ndarray, x: np.ndarray) -> ModelProto:
    """X -> BasisConvRelu -> Y, biased by the output channel's number, with the function's body."""
    form = Epilogue(activation="Relu")
    stored = basis_conv.encode(coefficients)
    constants = {
        "bases": bases,
        "mask": stored.mask,
        "values": stored.values,
        "B": np.arange(coefficients.shape[0], dtype=np.float32),
    }
    node = basis_conv.node(form, ["X", *constants], "Y", coefficients.shape, "the_node", strides=[2] * (x.ndim - 2))
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph([node], "case", *value_infos(x), initializers)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
    body = basis_conv.function(form, 13)
    return helper.make_model(graph, opset_imports=opsets, functions=[body], ir_version=8)


def dense_output(coefficients: np.ndarray, bases: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What a plain Conv makes of it."""
    weight = np.tensordot(coefficients, bases, 1)
    bias = np.arange(coefficients.shape[0], dtype=np.float32)
    initializers = [numpy_helper.from_array(weight, "W"), numpy_helper.from_array(bias, "B")]
    node = helper.make_node("Conv", ["X", "W", "B"], ["Y"], strides=[2] * (x.ndim - 2))
    graph = helper.make_graph([node], "dense", *value_infos(x), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return np.maximum(ort.InferenceSession(model.SerializeToString()).run(None, {"X": x})[0], 0)


@KERNELS
def test_the_body_convolves_with_sums_of_the_bases(kernel: tuple[int, ...]) -> None:
    arrays = random_arrays(kernel)
    model = basis_model(*arrays)
    onnx.checker.check_model(model, full_check=True)
    (y,) = ort.InferenceSession(model.SerializeToString()).run(None, {"X": arrays[2]})
    assert np.allclose(y, dense_output(*arrays), rtol=1e-5, atol=1e-5)


@KERNELS
def test_nothing_but_a_convolution_is_left_when_the_session_has_loaded(kernel: tuple[int, ...], tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(basis_model(*random_arrays(kernel)).SerializeToString(), options)
    left = {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}
    assert left <= {"Conv", "FusedConv", "Relu", "ReorderInput", "ReorderOutput"}


def test_the_bytes_of_version_1_are_frozen() -> None:
    coefficients = np.zeros((2, 3, 2), np.float32)
    coefficients[0, 1, 0], coefficients[1, 0, 1], coefficients[1, 2, 1] = 2, -1.5, 0.25
    stored = basis_conv.encode(coefficients)
    assert stored.mask.tobytes() == bytes.fromhex("8408")
    assert (stored.values.dtype, stored.values.tobytes()) == (np.float16, bytes.fromhex("004000be0034"))
    node = basis_conv.node(Epilogue(True, "Clip"), ["X"], "Y", coefficients.shape, clip_min=0.0, clip_max=6.0)
    assert (node.domain, node.op_type) == ("ai.onnxcomp", "BasisConvAddClip")
    stated = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    assert stated == {"coefficients_shape": [2, 3, 2], "to": 1, "clip_min": 0.0, "clip_max": 6.0}


def test_coefficients_have_three_dimensions() -> None:
    with pytest.raises(ValueError, match="4 dimensions"):
        basis_conv.encode(np.zeros((2, 3, 3, 3), np.float32))
