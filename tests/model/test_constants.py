"""What is known of a tensor before anything runs."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper, parser

from onnxcomp.errors import ModelError
from onnxcomp.model import Model


def _value(body: str, header: str = "", opset: int = 17) -> np.ndarray | None:
    """What is known of `y`, which `body` computes out of `header`'s initializers and the input `x`."""
    model = Model.from_proto(
        parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[2] x) => (y) {header} {{ {body} }}')
    )
    return model.constant(model.graph.outputs[0])


_W = "<float[2, 3] w = {1, 2, 3, 4, 5, 6}, int64[1] zero = {0}, int64[2] shape = {3, 2}>"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Identity (w)", [[1, 2, 3], [4, 5, 6]]),
        ("y = Transpose (w)", [[1, 4], [2, 5], [3, 6]]),
        ("y = Reshape (w, shape)", [[1, 2], [3, 4], [5, 6]]),
        ("y = Shape (w)", [2, 3]),
        ("y = Cast <to = 7> (w)", [[1, 2, 3], [4, 5, 6]]),
        ("y = Unsqueeze (w, zero)", [[[1, 2, 3], [4, 5, 6]]]),
        ("a = Unsqueeze (w, zero) y = Squeeze (a, zero)", [[1, 2, 3], [4, 5, 6]]),
        ("a = Mul (w, w) y = Add (a, w)", [[2, 6, 12], [20, 30, 42]]),
        ("y = Concat <axis = 0> (w, w)", [[1, 2, 3], [4, 5, 6], [1, 2, 3], [4, 5, 6]]),
        ("y = ConstantOfShape <value = float[1] {7}> (shape)", [[7, 7], [7, 7], [7, 7]]),
        ("y = Gather <axis = 1> (w, zero)", [[1], [4]]),
        ("a = Shape (w) b = Gather (a, zero) y = Expand (zero, b)", [0, 0]),
        ("y = Constant <value = float[2] {1, 2}> ()", [1, 2]),
        ("y = Constant <value_float = 0.5> ()", 0.5),
        ("y = Constant <value_int = 3> ()", 3),
        ("y = Constant <value_floats = [0.5, 1.5]> ()", [0.5, 1.5]),
        ("y = Constant <value_ints = [3, 4]> ()", [3, 4]),
        ('y = Constant <value_string = "a"> ()', "a"),
        ('y = Constant <value_strings = ["a", "b"]> ()', ["a", "b"]),
        ("n = Constant <value_int = 3> () one = Constant <value_int = 1> () "
         "o = Constant <value_int = 0> () y = Range (o, n, one)", [0, 1, 2]),
    ],
)  # fmt: skip
def test_an_expression_of_constants_is_known(body: str, expected: object) -> None:
    value = _value(body, _W)
    assert value is not None
    assert value.tolist() == expected
    assert not value.flags.writeable


@pytest.mark.parametrize(
    "body",
    [
        "y = Abs (x)",
        "a = Shape (w) y = Add (x, w)",
        "y = RandomNormal <shape = [2]> ()",
        "y = MatMul (w, w)",
        "y = Reshape (w, zero)",  # the runtime refuses it
        "y = custom.Identity (w)",
    ],
)
def test_anything_else_is_not(body: str) -> None:
    assert _value(body, _W) is None


def test_old_operator_sets_fold_as_they_were() -> None:
    value = _value("y = Unsqueeze <axes = [1]> (v)", "<float[2] v = {1, 2}>", 9)
    assert value is not None
    assert value.tolist() == [[1], [2]]


@pytest.mark.parametrize("size", [3, 1_000_000])
@pytest.mark.parametrize(
    "body",
    [
        "y = ConstantOfShape (square)",
        "a = ConstantOfShape (size) y = Tile (a, size)",
        "y = Expand (size, square)",
        "a = ConstantOfShape <value = int64[1] {0}> (size) y = Gather (a, a)",
        "a = ConstantOfShape (size) b = Reshape (a, column) c = Reshape (a, row) y = Mul (b, c)",
        "o = Constant <value_int = 0> () n = Mul (count, count) e = Constant <value_int = 1> () y = Range (o, n, e)",
    ],
)
def test_what_would_not_fit_is_not_worked_out(body: str, size: int) -> None:
    header = f"""<int64[2] square = {{{size}, {size}}}, int64[1] size = {{{size}}}, int64 count = {{{size}}},
                  int64[2] column = {{-1, 1}}, int64[2] row = {{1, -1}}>"""
    value = _value(body, header)
    assert (value is None) == (size == 1_000_000)


def test_long_chains_end_soon() -> None:
    """A chain of doublings: 2 ** 5000 ways lead through it, and one is enough."""
    steps = " ".join(f"t{i + 1} = Add (t{i}, t{i})" for i in range(5000))
    assert _value(f"t0 = Identity (v) {steps} y = Identity (t5000)", "<float[1] v = {1}>") is None
    steps = " ".join(f"t{i + 1} = Add (t{i}, t{i})" for i in range(50))
    value = _value(f"t0 = Identity (v) {steps} y = Identity (t50)", "<float[1] v = {1}>")
    assert value is not None
    assert value.tolist() == [2.0**50]


def test_an_overridable_initializer_is_not_known_and_is_an_input() -> None:
    text = """<ir_version: {}, opset_import: ["" : 9]>
        g (float[2] x, float[2] w) => (y) <float[2] w = {{1, 2}}> {{ y = Add (x, w) }}"""
    model = Model.from_proto(parser.parse_model(text.format(4)))
    weight = model.graph.nodes[0].inputs[1]
    assert isinstance(weight, gs.Variable)
    assert model.is_interface(weight)
    assert model.constant(weight) is None
    assert model.stored_bytes(weight) == 8
    assert [tensor.name for tensor in model.required_inputs()] == ["x"]
    assert model.sweep() == []

    before_defaults = Model.from_proto(parser.parse_model(text.format(3)))
    weight = before_defaults.graph.nodes[0].inputs[1]
    assert not before_defaults.is_interface(weight)
    value = before_defaults.constant(weight)
    assert value is not None
    assert value.tolist() == [1, 2]


@settings(deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=5), st.sets(st.integers(0, 11), min_size=5, max_size=5))
def test_sparse_tensors_are_dense_when_read(values: list[float], places: set[int]) -> None:
    indices = np.array(sorted(places)[: len(values)], np.int64)
    values = values[: len(indices)]
    dense = np.zeros(12, np.float32)
    dense[indices] = values
    stored = numpy_helper.from_array(np.array(values, np.float32), "w")
    linear = helper.make_sparse_tensor(stored, numpy_helper.from_array(indices), [3, 4])
    pairs = np.stack(np.unravel_index(indices, (3, 4)), axis=1)
    by_pair = helper.make_sparse_tensor(stored, numpy_helper.from_array(pairs), [3, 4])
    for sparse in (linear, by_pair):
        node = helper.make_node("Constant", [], ["c"], sparse_value=sparse)
        outputs = [helper.make_tensor_value_info(name, 1, [3, 4]) for name in ("w", "c")]
        graph = helper.make_graph([node], "g", [], outputs, sparse_initializer=[sparse])
        model = Model.from_proto(helper.make_model(graph))
        for tensor in model.graph.outputs:
            value = model.constant(tensor)
            assert value is not None
            np.testing.assert_array_equal(value, dense.reshape(3, 4))
            assert model.stored_bytes(tensor) == 4 * len(values) + 8 * linear.indices.dims[0] * (
                1 if sparse is linear else 2
            )


def test_a_sparse_index_out_of_range_is_an_error() -> None:
    values = numpy_helper.from_array(np.array([1.0], np.float32), "w")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([4], np.int64)), [4])
    graph = helper.make_graph([], "g", [], [helper.make_tensor_value_info("w", 1, [4])], sparse_initializer=[sparse])
    model = Model.from_proto(helper.make_model(graph))
    with pytest.raises(ModelError, match="sparse tensor 'w' cannot be read"):
        model.constant(model.graph.outputs[0])


def test_bytes_stored() -> None:
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x) => (y) {_W} {{ c = Constant <value_ints = [1, 2]> () y = Reshape (w, c) }}"""
    model = Model.from_proto(parser.parse_model(text))
    sizes = {name: model.stored_bytes(tensor) for name, tensor in model.graph.tensors().items()}
    assert sizes == {"x": None, "w": 24, "c": 16, "y": None}
    assert model.size_bytes() == len(model.to_proto().SerializeToString())


def test_an_array_of_a_pass_is_known_and_stays_the_pass_own() -> None:
    text = f'<ir_version: 8, opset_import: ["" : 17]> g () => (y) {_W} {{ y = Abs (w) }}'
    model = Model.from_proto(parser.parse_model(text))
    array = np.ones((2, 3), np.float32)
    model.graph.nodes[0].inputs[0] = gs.Constant("new", array)
    value = model.constant(model.graph.nodes[0].inputs[0])
    assert value is not None
    assert not value.flags.writeable
    assert array.flags.writeable
