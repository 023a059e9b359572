"""Nodes with bodies: opaque, yet what they read from outside is seen, kept and followed."""

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest
from onnx import ModelProto, parser

from onnxcomp.errors import ModelError, PassError
from onnxcomp.model import Model

# A body within a body reads `w` (an initializer) and `a` (a node's output) of the main graph.
_NESTED = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[2] x, bool flag) => (float[2] y) <float[2] w = {1, 2}, float[2] v = {3, 4}>
{
    [abs] a = Abs (x)
    [if] y = If (flag) <
        then_branch = outer () => (float[2] t) {
            s = Add (a, w)
            t = If (flag) <
                then_branch = inner () => (float[2] p) { p = Mul (s, w) },
                else_branch = inner2 () => (float[2] q) { q = Mul (s, a) }
            >
        },
        else_branch = other () => (float[2] u) { u = Sub (x, v) }
    >
}
"""


def _outputs(proto: ModelProto) -> list[list[np.ndarray]]:
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([-1.5, 2.5], np.float32)
    return [session.run(None, {"x": x, "flag": np.array(flag)}) for flag in (True, False)]


def test_what_bodies_read_is_captured_once_and_stays() -> None:
    proto = parser.parse_model(_NESTED)
    model = Model.from_proto(proto)
    tensors = model.graph.tensors()
    assert {name for name, tensor in tensors.items() if model.is_captured(tensor)} == {"a", "flag", "v", "w", "x"}
    assert not model.is_captured(tensors["y"])
    assert model.sweep() == []
    assert model.to_proto() == proto
    assert [tensor.name for tensor in proto.graph.initializer] == ["w", "v"]


def test_a_condition_that_only_the_node_itself_reads_is_not_captured() -> None:
    proto = parser.parse_model(
        _NESTED.replace("t = If (flag) <", "t = If (other) <").replace("bool flag", "bool flag, bool other")
    )
    model = Model.from_proto(proto)
    assert not model.is_captured(model.graph.tensors()["flag"])


def test_the_maker_of_a_captured_tensor_is_put_before_the_node() -> None:
    model = Model.from_proto(parser.parse_model(_NESTED))
    model.graph.nodes.reverse()
    assert [node.name for node in model.to_proto().graph.node] == ["abs", "if"]


def test_a_reader_inside_a_body_can_be_given_another_tensor() -> None:
    proto = parser.parse_model(_NESTED)
    model = Model.from_proto(proto)
    branch = next(node for node in model.graph.nodes if node.op == "If")
    old = model.graph.tensors()["a"]
    [made] = model.graph.layer(op="Identity", name="copy", inputs=[old], outputs=["twin"])
    branch.inputs[[tensor is old for tensor in branch.inputs].index(True)] = made
    result = model.to_proto()
    assert [node.name for node in result.graph.node] == ["abs", "copy", "if"]
    assert _outputs(result)[0][0].tolist() == _outputs(proto)[0][0].tolist()
    assert "a" not in {name for node in result.graph.node[2].attribute[0].g.node for name in node.input}


def test_a_name_that_the_body_uses_itself_is_refused() -> None:
    model = Model.from_proto(parser.parse_model(_NESTED))
    model.graph.tensors()["a"].name = "s"
    with pytest.raises(ModelError, match="subgraph 'outer' has one of that name"):
        model.to_proto()


def test_a_node_that_lost_what_its_body_reads_is_refused() -> None:
    model = Model.from_proto(parser.parse_model(_NESTED))
    model.graph.nodes[1].inputs.clear()
    with pytest.raises(PassError, match="'if' \\(If\\) lost an input"):
        model.to_proto()


def test_loops_and_scans_with_state_compute_the_same() -> None:
    proto = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x, bool flag) => (float[2] y, float[3, 2] z)
            <int64 count = {3}, bool go = {1}, float[2] step = {1, 2}, float[3, 2] rows = {1, 2, 3, 4, 5, 6}>
        {
            y = Loop (count, go, x) <body = b (int64 i, bool c, float[2] state) => (bool c2, float[2] next)
                { c2 = Identity (c) next = Add (state, step) }>
            last, z = Scan <num_scan_inputs = 1, body = s (float[2] sum, float[2] row) => (float[2] total, float[2] out)
                { t = Add (sum, row) total = Mul (t, step) out = Identity (total) }> (x, rows)
        }"""
    )
    model = Model.from_proto(proto)
    model.check()
    assert model.is_captured(model.graph.tensors()["step"])
    assert model.to_proto() == proto
    assert [a.tolist() for a in _outputs(model.to_proto())[0]] == [a.tolist() for a in _outputs(proto)[0]]


def test_a_body_reading_what_nobody_makes_is_refused() -> None:
    with pytest.raises(ModelError, match="tensor 'missing', read by node 'if'"):
        Model.from_proto(parser.parse_model(_NESTED.replace("Sub (x, v)", "Sub (x, missing)")))


def test_large_weights_inside_bodies_are_not_in_the_skeleton() -> None:
    big = "float[600] big = {" + ", ".join(["1"] * 600) + "}"
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[600] x, bool flag) => (float[600] y) <{big}>
        {{ h = Add (x, big)
           y = If (flag) <
            then_branch = a () => (float[600] t) <{big.replace("big", "big2")}> {{ t = Mul (h, big2) }},
            else_branch = b () => (float[600] u) <{big.replace("big", "big2")}> {{ u = Sub (h, big2) }}> }}"""
    model = Model.from_proto(parser.parse_model(text))
    skeleton = model.skeleton()
    assert skeleton.ByteSize() < 1000
    assert {value.name for value in skeleton.graph.input} == {"x", "flag", "big", "big2", "big2.1"}
    model.check()
    assert model.to_proto() == parser.parse_model(text)


def test_a_copied_node_keeps_what_its_bodies_read() -> None:
    model = Model.from_proto(parser.parse_model(_NESTED))
    old = model.graph.nodes[1]
    copy = old.copy(list(old.inputs), [gs.Variable("y2", np.dtype(np.float32), [2])])
    copy.name = "copy"
    model.graph.nodes.append(copy)
    model.graph.outputs.append(copy.outputs[0])
    first, second = (node for node in model.to_proto().graph.node if node.op_type == "If")
    assert list(first.attribute) == list(second.attribute)
    assert list(second.input) == ["flag"]
