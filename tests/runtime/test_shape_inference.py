"""What ONNX Runtime knows of SparseConv's output before it runs."""

from typing import Any

import pytest

from onnxcomp.runtime import session as runtime
from tests.runtime.sparse_models import random_case, sparse_model


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


def test_unknown_rank_stays_unknown() -> None:
    case = random_case((8, 6, 3, 3), (1, 6, 14, 17))
    model = sparse_model(case)
    del model.functions[:]
    model.graph.input[0].type.tensor_type.ClearField("shape")
    session = runtime.session(model.SerializeToString(), threads=1)
    assert session.get_outputs()[0].shape == []
    assert runtime.run(session, case.feed)[0].shape == (1, 8, 12, 15)
