"""Raising the operator set: the same results, and nothing touched that need not be."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, helper, numpy_helper, parser

from onnxcomp.errors import ModelError
from onnxcomp.model import Model
from tests.model.full_model import full_model

_STANDARD = sorted((Path(onnx.__file__).parent / "backend/test/data").glob("pytorch-*/*/model.onnx"))
_IMAGE = "float[1, 2, 4, 4] x"


def _model(opset: int, inputs: str, body: str, initializers: str = "") -> ModelProto:
    known = f"<{initializers}>" if initializers else ""
    return parser.parse_model(f'<ir_version: 7, opset_import: ["" : {opset}]> g ({inputs}) => (y) {known} {{ {body} }}')


def _run(proto: ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def _feeds(proto: ModelProto) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feeds = {}
    for value in proto.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = rng.normal(size=shape).astype(dtype)
    return feeds


@pytest.mark.parametrize("target", [13, 17, 21])
@pytest.mark.parametrize(
    ("opset", "inputs", "body", "initializers"),
    [
        (7, _IMAGE, 'y = Upsample <mode = "nearest", scales = [1.0, 1.0, 2.0, 3.0]> (x)', ""),
        (9, _IMAGE, 'y = Upsample <mode = "nearest"> (x, s)', "float[4] s = {1, 1, 1.5, 2.3}"),
        (9, _IMAGE, 'y = Upsample <mode = "linear"> (x, s)', "float[4] s = {1, 1, 2, 3}"),
        (10, _IMAGE, 'y = Resize <mode = "linear"> (x, s)', "float[4] s = {1, 1, 0.5, 3}"),
        (9, _IMAGE, "y = Softmax (x)", ""),
        (9, _IMAGE, "y = LogSoftmax <axis = 2> (x)", ""),
        (9, _IMAGE, "y = Clip <min = 0.0, max = 0.5> (x)", ""),
        (9, _IMAGE, "y = Pad <pads = [0, 0, 1, 1, 0, 0, 1, 1], value = 2.0> (x)", ""),
        (9, _IMAGE, "y = Slice <axes = [2, 3], starts = [1, 0], ends = [3, 2]> (x)", ""),
        (9, _IMAGE, "y, z = Split <axis = 2, split = [1, 3]> (x)", ""),
        (9, _IMAGE, "y = ReduceSum <axes = [1], keepdims = 0> (x)", ""),
        (9, _IMAGE, "y = ReduceL2 (x)", ""),
        (9, _IMAGE, "y = Dropout <ratio = 0.3> (x)", ""),
        (9, _IMAGE, "a = Squeeze <axes = [0]> (x) y = Unsqueeze <axes = [0, 3]> (a)", ""),
        (7, _IMAGE, "y = BatchNormalization (x, a, a, a, a)", "float[2] a = {1, 2}"),
        (9, _IMAGE, "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)", ""),
        (9, "float[3, 4] x", "y = Gemm (x, w, b)", "float[4, 2] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[2] b = {1, 2}"),
        (
            11,
            "float[3, 4] x, bool flag",
            """y = If (flag) <
                then_branch = a () => (float[3] t) { t = ReduceSum <axes = [1], keepdims = 0> (x) },
                else_branch = b () => (float[3] u) { v = ReduceMax <axes = [1]> (x) u = Squeeze <axes = [1]> (v) }>""",
            "",
        ),
    ],
)
def test_the_result_is_the_same(opset: int, inputs: str, body: str, initializers: str, target: int) -> None:
    proto = _model(opset, inputs, body, initializers)
    model = Model.from_proto(proto)
    model.raise_opset(target)
    assert model.opset == target == model.graph.opset
    assert model.ir_version == 7
    feeds = _feeds(proto)
    [before, *_], [after, *_] = _run(proto, feeds), _run(model.to_proto(), feeds)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


def test_onnx_own_models_compute_the_same() -> None:
    raised = 0
    for path in _STANDARD:
        proto = onnx.load(path)
        model = Model.load(path)
        if model.opset >= 13:
            continue
        tensors = sorted((path.parent / "test_data_set_0").glob("input_*.pb"))
        values = [numpy_helper.to_array(onnx.TensorProto.FromString(tensor.read_bytes())) for tensor in tensors]
        feeds = {tensor.name: value for tensor, value in zip(model.graph.inputs, values, strict=False)}
        if any(value.dtype.kind not in "fiub" for value in values) or not _can_run(proto, feeds):
            continue
        model.raise_opset(13)
        for before, after in zip(_run(proto, feeds), _run(model.to_proto(), feeds), strict=True):
            np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5, err_msg=str(path))
        raised += 1
    assert raised > 80


def _can_run(proto: ModelProto, feeds: dict[str, np.ndarray]) -> bool:
    """Some of these models are older than the oldest kernels that the runtime has, or of operators it lacks."""
    refusals = ort.capi.onnxruntime_pybind11_state
    try:
        _run(proto, feeds)
    except (refusals.NotImplemented, refusals.InvalidGraph, refusals.Fail, refusals.RuntimeException):
        return False
    return True


def test_what_does_not_change_is_not_touched() -> None:
    proto = full_model()
    model = Model.from_proto(proto)
    nodes = list(model.graph.nodes)
    model.raise_opset(23)
    assert model.graph.nodes == nodes
    next(entry for entry in proto.opset_import if not entry.domain).version = 23
    assert model.to_proto() == proto


def test_a_converted_node_keeps_its_name_and_texts() -> None:
    proto = _model(9, _IMAGE, "[up] y = Clip <min = 0.0, max = 0.5> (x)")
    proto.graph.node[0].doc_string = "doc"
    proto.graph.node[0].metadata_props.add(key="k", value="v")
    model = Model.from_proto(proto)
    model.raise_opset(13)
    clip = model.to_proto().graph.node[-1]
    assert (clip.op_type, clip.name, clip.doc_string, clip.metadata_props[0].value) == ("Clip", "up", "doc", "v")


def test_an_older_or_equal_version_changes_nothing() -> None:
    proto = full_model()
    model = Model.from_proto(proto)
    model.raise_opset(9)
    model.raise_opset(21)
    assert model.to_proto() == proto


@pytest.mark.parametrize(
    ("opset", "body", "target", "message"),
    [
        (10, 'y = Resize <mode = "nearest"> (x, x)', 13, "rounds as no Resize-11 does"),
        (9, "y = Hardmax (x)", 13, "changed its meaning in 13"),
        (18, "y = GroupNormalization <num_groups = 1> (x, x, x)", 21, "changed its meaning in 21"),
        (9, "y = Abs (x)", 9999, "knows no operator set 9999"),
    ],
)
def test_what_cannot_be_raised_is_one_line_and_leaves_the_model(
    opset: int, body: str, target: int, message: str
) -> None:
    proto = _model(opset, "float[4] x", f"a = Clip <max = 1.0> (x) {body}" if opset < 11 else body)
    model = Model.from_proto(proto)
    with pytest.raises(ModelError, match=message):
        model.raise_opset(target)
    assert model.to_proto() == proto
    assert model.opset == opset


def test_a_model_without_the_default_operators_gets_them() -> None:
    text = (
        '<ir_version: 8, opset_import: ["ai.onnx.ml" : 3]> g (float[2] x) => (float[2] y) { y = ai.onnx.ml.Scaler (x) }'
    )
    model = Model.from_proto(parser.parse_model(text))
    assert model.opset == 0
    assert model.to_proto() == parser.parse_model(text)
    model.raise_opset(13)
    assert model.opset == 13
    model.check()


def test_a_function_of_an_incompatible_version_is_refused() -> None:
    model = Model.from_proto(
        parser.parse_model(
            """<ir_version: 8, opset_import: ["" : 12, "f" : 1]> g (float[2, 2] x) => (float[2, 2] y) { y = f.S (x) }
            <domain: "f", opset_import: ["" : 12]> S (a) => (b) { b = Softmax (a) }"""
        )
    )
    with pytest.raises(ModelError, match="function 'f::S' uses Softmax of 12"):
        model.raise_opset(13)
