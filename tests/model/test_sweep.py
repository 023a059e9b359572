"""Sweeping removes what no output depends on, and nothing else."""

from onnx import parser

from onnxcomp.model import Model


def _model(text: str) -> Model:
    return Model.from_proto(parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17, "odd" : 1]> {text}'))


def test_dead_chains_go_whatever_their_domain() -> None:
    model = _model(
        """g (float[2] x) => (float[2] y) <float[2] w = {1, 2}, float[2] v = {1, 2}, float[1] lonely = {1}>
        { y = Add (x, w) [one] a = Mul (x, v) b = odd.Unknown (a) c = odd.Unknown (b) }"""
    )
    assert sorted(model.sweep()) == ["b", "c", "lonely", "one", "v"]
    assert [node.op_type for node in model.to_proto().graph.node] == ["Add"]
    assert [tensor.name for tensor in model.to_proto().graph.initializer] == ["w"]
    assert model.sweep() == []
    model.check()


def test_a_node_with_one_living_output_stays_whole() -> None:
    model = _model("g (float[4] x) => (float[2] y) { y, unused = Split <axis = 0> (x) }")
    assert model.sweep() == []


def test_an_unused_input_and_a_constant_output_stay() -> None:
    model = _model("g (float[2] x, float[2] unused) => (float[2] y, float[1] c) <float[1] c = {1}> { y = Abs (x) }")
    assert model.sweep() == []
    assert [tensor.name for tensor in model.graph.inputs] == ["x", "unused"]


def test_a_scale_that_only_an_annotation_names_stays() -> None:
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) <float[1] s = {1}> { y = Abs (x) }'
    )
    note = proto.graph.quantization_annotation.add(tensor_name="y")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    model = Model.from_proto(proto)
    assert model.sweep() == []
    assert model.to_proto() == proto


def test_an_annotation_goes_with_its_tensor() -> None:
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { dead = Neg (x) y = Abs (x) }'
    )
    proto.graph.quantization_annotation.add(tensor_name="dead")
    model = Model.from_proto(proto)
    model.sweep()
    assert not model.to_proto().graph.quantization_annotation


def test_what_a_pass_disconnected_is_gone_from_its_inputs() -> None:
    model = _model("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { a = Add (x, w) y = Add (x, w) }")
    weight = model.graph.tensors()["w"]
    assert len(weight.outputs) == 2
    model.sweep()
    assert len(weight.outputs) == 1
