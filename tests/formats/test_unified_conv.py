"""UnifiedConv and UnifiedGemm as they stand in a file: their bodies cost what dense operators do; frozen attributes."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from onnxcomp.formats import unified, unified_conv, unified_gemm
from onnxcomp.formats.sparse_conv import Epilogue
from tests.runtime.sparse_models import dense_output
from tests.runtime.unified_models import unified_case, unified_model


@pytest.mark.parametrize("kernel", [(3, 3), (1, 4), (5,)])
def test_nothing_but_a_convolution_is_left_when_the_session_has_loaded(kernel: tuple[int, ...], tmp_path: Path) -> None:
    case = unified_case(
        (16, 8, *kernel), (2, 8) + (9,) * len(kernel), levels=(1.0, 0.5, 0.0), strides=[2] * len(kernel)
    )
    dense = dense_output(case.conv)
    case.conv.y_shape = list(dense.shape)
    model = unified_model(case)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    (y,) = ort.InferenceSession(model.SerializeToString(), options).run(None, {"X": case.conv.x})
    left = {node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node}
    assert left <= {"Conv", "ReorderInput", "ReorderOutput"}
    assert np.array_equal(y, dense)  # the same weight, bit for bit


def test_attributes_of_version_1_are_frozen() -> None:
    stored = unified.encode(np.ones((4, 8), np.float32), (4, 4), (1.0, 0.5))
    weight = {"block": [4, 4], "levels": [1.0, -1.0, 0.5, -0.5], "to": 1}
    conv = unified_conv.node(Epilogue(True, "Clip"), ["X"], "Y", (4, 8, 1), stored, clip_min=0.0, clip_max=6.0)
    gemm = unified_gemm.node(unified_gemm.Form(True, "LeakyRelu"), ["X"], "Y", (4, 8), stored, alpha=0.5)
    for node, op, stated in (
        (conv, "UnifiedConvAddClip", {"weight_shape": [4, 8, 1], "clip_min": 0.0, "clip_max": 6.0}),
        (gemm, "UnifiedMatMulLeakyRelu", {"weight_shape": [4, 8], "alpha": 0.5}),
    ):
        assert (node.domain, node.op_type) == ("ai.onnxcomp", op)
        assert {a.name: helper.get_attribute_value(a) for a in node.attribute} == weight | stated
