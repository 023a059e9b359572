"""What ONNX Runtime knows of a sparse operator's output before it runs."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxcomp.runtime import session as runtime
from tests.runtime import gemm_models
from tests.runtime.sparse_models import dense_model, dense_output, random_case, sparse_model


@pytest.mark.parametrize(
    ("x_shape", "attributes", "y_shape"),
    [
        ([2, 6, 14, 17], {"pads": [1, 1, 1, 1]}, [2, 8, 14, 17]),
        ([2, 6, 14, 17], {"strides": [2, 3], "dilations": [2, 1]}, [2, 8, 5, 5]),
        ([2, 6, 14, 17], {"auto_pad": "SAME_UPPER", "strides": [2, 3]}, [2, 8, 7, 6]),
        (["N", 6, 14, 17], {"pads": [1, 1, 1, 1]}, ["N", 8, 14, 17]),
        (["N", 6, "H", "W"], {"pads": [1, 1, 1, 1]}, ["N", 8, "H", "W"]),
        (["N", 6, "H", "W"], {"auto_pad": "SAME_LOWER", "strides": [1, 2]}, ["N", 8, "H", "ceil(W/2)"]),
        (["N", 6, "H", 17], {"pads": [0, 1, 1, 1], "strides": [2, 2]}, ["N", 8, "floor((H-2)/2)+1", 9]),
        (["N", 6, "H", "W"], {"auto_pad": "VALID"}, ["N", 8, "floor((H-3)/1)+1", "floor((W-3)/1)+1"]),
    ],
)
def test_output_shape(x_shape: list[Any], attributes: dict[str, Any], y_shape: list[Any]) -> None:
    case = random_case((8, 6, 3, 3), (1, 6, 14, 17), **attributes)
    case.x_shape = x_shape
    model = sparse_model(case)
    del model.functions[:]  # its body would tell the runtime as well
    session = runtime.session(model.SerializeToString(), threads=1)
    assert session.get_outputs()[0].shape == y_shape


@pytest.mark.parametrize(
    ("x_shape", "attributes", "y_shape"),
    [
        (["N", 6, None, None], {"pads": [1, 1, 1, 1]}, ["N", 8, None, None]),
        (["N", 6, None, 17], {}, ["N", 8, None, 15]),
        ([None, None, "H", 17], {"auto_pad": "SAME_UPPER", "strides": [1, 2]}, [None, 8, "H", 9]),
        (None, {"pads": [1, 1, 1, 1]}, [None, 8, None, None]),
    ],
)
def test_what_is_known_survives_what_is_not(
    x_shape: list[int | str | None] | None, attributes: dict[str, Any], y_shape: list[Any]
) -> None:
    """A size of which nothing is known (None) has a name that says so, and that no other size has."""
    case = random_case((8, 6, 3, 3), (1, 6, 14, 17), **attributes)
    model = sparse_model(case)
    del model.functions[:]
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("X", TensorProto.FLOAT, x_shape))
    session = runtime.session(model.SerializeToString(), threads=1)
    inferred = session.get_outputs()[0].shape
    fresh = [size for size, known in zip(inferred, y_shape, strict=True) if known is None]
    assert [None if size in fresh else size for size in inferred] == y_shape
    assert all(name.startswith("onnxcomp_unknown_") for name in fresh)
    assert len(set(fresh)) == len(fresh)
    assert runtime.run(session, case.feed)[0].shape == dense_output(case).shape


def test_an_unknown_batch_keeps_the_number_of_outputs() -> None:
    model = gemm_models.gemm_model(gemm_models.random_case(20, (3, 50)))
    del model.functions[:]
    model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    batch, outputs = runtime.session(model.SerializeToString(), threads=1).get_outputs()[0].shape
    assert batch.startswith("onnxcomp_unknown_") and outputs == 20


def between_convolutions(middle: ModelProto) -> ModelProto:
    """`middle`, from X to Y, behind a Conv, whose spatial sizes ONNX does not infer from names, and before another."""
    rng = np.random.default_rng(3)
    first, last = (numpy_helper.from_array(rng.standard_normal((6, c, 3, 3), np.float32), f"w{c}") for c in (3, 8))
    graph = middle.graph
    graph.initializer.extend([first, last])
    graph.node.insert(0, helper.make_node("Conv", ["image", "w3"], ["X"]))
    graph.node.append(helper.make_node("Conv", ["Y", "w8"], ["Z"]))
    graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"]))
    graph.output[0].CopyFrom(helper.make_tensor_value_info("Z", TensorProto.FLOAT, None))
    return middle


def test_dynamic_sizes_between_dense_convolutions() -> None:
    case = random_case((8, 6, 3, 3), (1, 6, 14, 17), pads=[1, 1, 1, 1])
    sparse, dense = (
        runtime.session(between_convolutions(model).SerializeToString(), threads=1)
        for model in (sparse_model(case), dense_model(case))
    )
    assert sparse.get_outputs()[0].shape == ["N", 6, None, None]
    for n, height, width in [(1, 14, 17), (2, 33, 20), (1, 14, 17)]:
        image = np.random.default_rng(height).standard_normal((n, 3, height, width), np.float32)
        expected, got = (runtime.run(session, {"image": image})[0] for session in (dense, sparse))
        assert np.linalg.norm(got - expected) < 1e-6 * np.linalg.norm(expected)
