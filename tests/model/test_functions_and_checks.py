"""Model-local functions, shape inference, and the check after a pass."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest
from onnx import FunctionProto, parser

from onnxcomp.errors import ModelError
from onnxcomp.formats import bitmap, sparse_weight
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.model import Model
from tests.model.full_model import full_model

_CONV = """<ir_version: {ir}, opset_import: ["" : 13]>
g ({inputs}float[N, 1, 4, 4] x) => (float[N, 2, 2, 2] y) <float[2, 1, 3, 3] w = {{{values}}}> {{ y = Conv (x, w) }}"""
_VALUES = ", ".join(str(value if value % 3 else 0) for value in range(18))


@pytest.mark.parametrize("ir", [3, 4, 8, 10])
def test_a_function_can_be_used_in_a_model_of_any_ir(ir: int) -> None:
    listed = "float[2, 1, 3, 3] w, " if ir == 3 else ""
    proto = parser.parse_model(_CONV.format(ir=ir, inputs=listed, values=_VALUES))
    model = Model.from_proto(proto)
    node = model.graph.nodes[0]
    weight = node.inputs[1]
    stored = bitmap.encode(model.constant(weight))
    made = gs.Variable("decoded", np.dtype(np.float32), [2, 1, 3, 3])
    parts = [gs.Constant("mask", stored.mask), gs.Constant("values", stored.values)]
    attributes = {"weight_shape": [2, 1, 3, 3], "to": 1}
    model.graph.nodes.append(gs.Node(sparse_weight.OP, "decode", attributes, parts, [made], DOMAIN))
    node.inputs[1] = made
    model.add_function(sparse_weight.function(model.opset))
    model.add_function(sparse_weight.function(model.opset))
    assert model.sweep() == ["w"]
    model.check()
    result = model.to_proto()
    assert result.ir_version == max(ir, 8) == model.ir_version
    assert [(entry.domain, entry.version) for entry in result.opset_import] == [("", 13), (DOMAIN, 1)]
    assert list(model.functions) == [(DOMAIN, sparse_weight.OP)]
    assert [value.name for value in result.graph.input] == ["x"]
    x = np.random.default_rng(0).normal(size=(2, 1, 4, 4)).astype(np.float32)
    before, after = (
        ort.InferenceSession(p.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for p in (proto, result)
    )
    np.testing.assert_allclose(after, before, rtol=1e-6)


def test_a_new_body_of_the_same_signature_replaces_the_old() -> None:
    model = Model.from_proto(full_model())
    function = FunctionProto()
    function.CopyFrom(model.functions["custom", "Doubled"])
    function.node[0].op_type = "Mul"
    model.add_function(function)
    assert model.functions["custom", "Doubled"] == function
    function.input.append("another")
    with pytest.raises(ModelError, match="another function 'custom::Doubled'"):
        model.add_function(function)


def test_inference_fills_in_inner_tensors_and_is_not_saved() -> None:
    proto = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[N, 3, 8, 8] x) => (float[N, M] y) <float[2, 3, 3, 3] w = {}>
        { a = Conv (x, w) b = Relu (a) y = Flatten (b) }""".replace("{}", "{" + ", ".join(["1"] * 54) + "}")
    )
    model = Model.from_proto(proto)
    model.infer_shapes()
    tensors = model.graph.tensors()
    assert tensors["a"].dtype == tensors["b"].dtype == np.float32
    assert tensors["a"].shape == tensors["b"].shape == ["N", 2, 6, 6]
    assert tensors["y"].shape == ["N", "M"]
    assert model.to_proto() == proto


def test_inference_keeps_what_is_known() -> None:
    proto = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x) => (float[2] y) <float[K] a> { a = Abs (x) b = Neg (a) y = Abs (b) }"""
    )
    model = Model.from_proto(proto)
    model.infer_shapes()
    assert model.graph.tensors()["a"].shape == ["K"]
    assert model.graph.tensors()["b"].dtype == np.float32
    assert model.to_proto() == proto


def test_where_inference_fails_shapes_stay_unknown() -> None:
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x, float[3] z) => (y) { a = Add (x, z) y = Abs (a) }'
    )
    model = Model.from_proto(proto)
    model.infer_shapes()
    assert model.graph.tensors()["a"].shape is None


def test_the_skeleton_is_small_valid_and_keeps_small_constants() -> None:
    ones = ", ".join(["1"] * 512)
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[2, 256] x) => (float[512] y)
        <float[2, 256] w = {{{ones}}}, int64[1] flat = {{-1}}>
        {{ c = Constant <value = float[512] {{{ones}}}> () a = Add (x, w) b = Reshape (a, flat) y = Mul (b, c) }}"""
    model = Model.from_proto(parser.parse_model(text))
    skeleton = model.skeleton()
    onnx.checker.check_model(skeleton, full_check=True)
    assert skeleton.ByteSize() < 500
    assert [tensor.name for tensor in skeleton.graph.initializer] == ["flat"]
    assert [node.op_type for node in skeleton.graph.node] == ["Add", "Reshape", "Mul"]


def _relu() -> Model:
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 2] x, float[2] z) => (float[N, 2] y) { y = Add (x, z) }'
    )
    return Model.from_proto(parser.parse_model(text))


def test_a_sound_model_passes_the_check() -> None:
    _relu().check()


def test_a_changed_interface_is_found() -> None:
    model = _relu()
    model.graph.inputs.reverse()
    with pytest.raises(ModelError, match="input 'x' float32\\['N', 2\\] has become 'z' float32\\[2\\]"):
        model.check()
    model = _relu()
    model.graph.outputs[0].shape = [1, 2]
    with pytest.raises(ModelError, match="output 'y' float32\\['N', 2\\] has become 'y' float32\\[1, 2\\]"):
        model.check()
    model = _relu()
    model.graph.inputs.pop()
    with pytest.raises(ModelError, match="had 2 inputs and now has 1"):
        model.check()
    model = _relu()
    model.graph.inputs[0].dtype = np.dtype(np.float16)
    with pytest.raises(ModelError, match="has become 'x' float16"):
        model.check()


def test_what_the_checker_refuses_is_one_line() -> None:
    model = _relu()
    model.graph.nodes[0].op = "NoSuchOperator"
    with pytest.raises(ModelError, match="not a valid ONNX model: No Op registered for NoSuchOperator") as caught:
        model.check()
    assert "\n" not in str(caught.value)
