"""After a change in one place, everything else is still the same, message by message."""

import pickle

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, parser

from onnxcomp.errors import ModelError, PassError
from onnxcomp.model import Model
from tests.model.full_model import full_model


def _node(model: Model, name: str) -> gs.Node:
    return next(node for node in model.graph.nodes if node.name == name)


def _proto_node(proto: ModelProto, name: str) -> NodeProto:
    return next(node for node in proto.graph.node if node.name == name)


def test_a_changed_attribute_changes_that_attribute_alone() -> None:
    model = Model.from_proto(full_model())
    _node(model, "special").attrs["ratio"] = 0.25
    expected = full_model()
    attribute = next(a for a in _proto_node(expected, "special").attribute if a.name == "ratio")
    attribute.f = 0.25
    assert model.to_proto() == expected


def test_an_attribute_changed_in_place_is_noticed() -> None:
    proto = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 2, 8, 8] x) => (y) { y = MaxPool <kernel_shape = [2, 2]> (x) }"""
    )
    model = Model.from_proto(proto)
    model.graph.nodes[0].attrs["kernel_shape"][1] = 3
    model.graph.nodes[0].attrs["strides"] = [2, 2]
    expected = proto.graph.node[0]
    expected.attribute[0].ints[1] = 3
    expected.attribute.append(helper.make_attribute("strides", [2, 2]))
    assert model.to_proto() == proto


def test_a_renamed_node_keeps_the_rest() -> None:
    model = Model.from_proto(full_model())
    _node(model, "first").name = "renamed"
    expected = full_model()
    _proto_node(expected, "first").name = "renamed"
    assert model.to_proto() == expected


def test_new_values_keep_the_place_and_the_texts_of_the_tensor() -> None:
    model = Model.from_proto(full_model())
    weight = _node(model, "first").inputs[1]  # an initializer that callers may override
    assert model.constant(weight) is None
    shift = model.graph.tensors()["shift"]
    shift.values = np.array([1, 1, 2, 3], np.float32)
    expected = full_model()
    tensor = next(t for t in expected.graph.initializer if t.name == "shift")
    new = numpy_helper.from_array(shift.values, "shift")
    tensor.ClearField("float_data")
    tensor.raw_data = new.raw_data
    assert model.to_proto() == expected


def test_values_that_were_only_looked_at_are_written_as_they_were() -> None:
    model = Model.from_proto(full_model())
    for tensor in model.graph.tensors().values():
        if isinstance(tensor, gs.Constant):
            assert tensor.values is not None
    _ = _node(model, "constant").attrs["value"].values
    assert model.to_proto() == full_model()


def test_values_read_cannot_be_modified_in_place() -> None:
    model = Model.from_proto(full_model())
    values = model.constant(model.graph.tensors()["shift"])
    assert values is not None
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 0


def test_a_removed_node_takes_along_only_what_was_said_of_it() -> None:
    proto = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x) => (float[2] y) <float[2] a, float[2] b, float[2] elsewhere>
        { a = Abs (x) b = Identity (a) y = Neg (b) }"""
    )
    model = Model.from_proto(proto)
    identity, neg = model.graph.nodes[1:]
    neg.inputs[0] = identity.inputs[0]
    assert model.sweep() == ["b"]
    expected = ModelProto()
    expected.CopyFrom(proto)
    del expected.graph.node[1]
    expected.graph.node[1].input[0] = "a"
    del expected.graph.value_info[1]
    assert model.to_proto() == expected


def test_a_declaration_that_a_pass_made_untrue_is_dropped() -> None:
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (y) <float[2] a> { a = Abs (x) y = Neg (a) }'
    )
    model = Model.from_proto(proto)
    model.graph.tensors()["a"].shape = [3]
    assert not model.to_proto().graph.value_info


def test_new_nodes_stand_just_before_their_first_reader() -> None:
    proto = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (y, z)
        { [a] p = Abs (x) [b] y = Neg (p) [c] q = Exp (x) [d] z = Neg (q) }"""
    )
    model = Model.from_proto(proto)
    late = gs.Variable("late")
    model.graph.nodes.append(gs.Node("Sqrt", "new", inputs=[model.graph.tensors()["q"]], outputs=[late]))
    _node(model, "d").inputs[0] = late
    assert [node.name for node in model.to_proto().graph.node] == ["a", "b", "c", "new", "d"]


def test_a_new_domain_is_imported() -> None:
    model = Model.from_proto(full_model())
    node = _node(model, "first")
    node.op, node.domain = "Special", "elsewhere"
    imports = {entry.domain: entry.version for entry in model.to_proto().opset_import}
    assert imports == {"": 21, "custom": 3, "elsewhere": 1}


def test_the_old_initializer_goes_when_another_tensor_takes_its_name() -> None:
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (y) <float[2] w = {1, 2}> { y = Add (x, w) }'
    )
    model = Model.from_proto(proto)
    model.graph.nodes[0].inputs[1] = gs.Constant("w", np.array([5, 6], np.float32))
    [tensor] = model.to_proto().graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), [5, 6])


def test_ir_3_lists_every_initializer_as_an_input() -> None:
    proto = parser.parse_model(
        """<ir_version: 3, opset_import: ["" : 9]>
        g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Add (x, w) }"""
    )
    model = Model.from_proto(proto)
    assert [tensor.name for tensor in model.graph.inputs] == ["x"]
    assert model.to_proto() == proto
    model.graph.nodes[0].inputs[1] = gs.Constant("v", np.array([5, 6], np.float32))
    model.sweep()
    result = model.to_proto()
    assert [value.name for value in result.graph.input] == ["x", "v"]
    assert [tensor.name for tensor in result.graph.initializer] == ["v"]
    model.check()


def test_an_added_output_is_declared() -> None:
    model = Model.from_proto(full_model())
    clone = model.clone()
    clone.infer_shapes()
    clone.graph.outputs.append(clone.graph.tensors()["h"])
    added = clone.to_proto().graph.output[-1]
    assert added.name == "h"
    assert added.type.tensor_type.elem_type == TensorProto.FLOAT
    assert model.to_proto() == full_model()


def test_a_clone_and_its_original_do_not_notice_each_other() -> None:
    model = Model.from_proto(full_model())
    clone = model.clone()
    _node(clone, "first").op = "Mul"
    _node(clone, "special").attrs["strings"].append("c")
    clone.graph.tensors()["shift"].values = np.zeros(4, np.float32)
    clone.sweep()
    clone.raise_opset(22)
    assert model.to_proto() == full_model()
    changed = clone.to_proto()
    _node(model, "first").op = "Div"
    model.graph.tensors()["shift"].name = "other"
    assert clone.to_proto() == changed


def test_a_pickled_model_is_the_same_model() -> None:
    model = Model.from_proto(full_model())
    copy = pickle.loads(pickle.dumps(model))
    assert copy.to_proto() == full_model()
    _node(copy, "first").op = "Mul"
    assert model.to_proto() == full_model()


def test_two_tensors_of_one_name_are_an_error() -> None:
    model = Model.from_proto(full_model())
    _node(model, "first").outputs[0].name = "m"
    with pytest.raises(ModelError, match="two different tensors are called 'm'"):
        model.to_proto()


def test_a_cycle_made_by_a_pass_is_an_error() -> None:
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (y) { a = Abs (x) y = Neg (a) }'
    )
    model = Model.from_proto(proto)
    model.graph.nodes[0].inputs[0] = model.graph.outputs[0]
    with pytest.raises(ModelError, match="cycle"):
        model.to_proto()


def test_reading_from_a_node_outside_the_graph_is_an_error() -> None:
    model = Model.from_proto(full_model())
    model.graph.nodes.remove(_node(model, "first"))
    with pytest.raises(ModelError, match="tensor 'h' has no sources"):
        model.to_proto()


@pytest.mark.parametrize(
    "value", [object(), {"a": 1}, [], [1, "a"], gs.Graph()], ids=lambda value: type(value).__name__
)
def test_an_attribute_that_onnx_cannot_hold_is_an_error_naming_the_node(value: object) -> None:
    model = Model.from_proto(full_model())
    _node(model, "first").attrs["odd"] = value
    with pytest.raises(PassError, match="'odd' of a Add node"):
        model.to_proto()


def test_attributes_as_passes_write_them() -> None:
    model = Model.from_proto(full_model())
    attrs = _node(model, "first").attrs
    attrs["ints"] = [np.int64(1), 2]
    attrs["floats"] = (0.5, 1.0)
    attrs["text"] = "text"
    attrs["to"] = np.float32
    attrs["value"] = gs.Constant("inside", np.array([1.5], np.float32))
    written = {a.name: a for a in _proto_node(model.to_proto(), "first").attribute}
    assert list(written["ints"].ints) == [1, 2]
    assert list(written["floats"].floats) == [0.5, 1.0]
    assert written["text"].s == b"text"
    assert written["to"].i == TensorProto.FLOAT
    np.testing.assert_array_equal(numpy_helper.to_array(written["value"].t), [1.5])


def test_an_empty_list_is_of_the_type_that_the_operator_declares() -> None:
    proto = parser.parse_model('<ir_version: 8, opset_import: ["" : 11]> g (float[1] x) => (y) { y = Squeeze (x) }')
    model = Model.from_proto(proto)
    model.graph.nodes[0].attrs["perm"] = []
    model.graph.nodes[0].op = "Transpose"
    assert model.to_proto().graph.node[0].attribute[0] == helper.make_attribute("perm", [], attr_type=7)
