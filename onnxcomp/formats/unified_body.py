"""The unified format (unified.py) decoded by standard operators, in the body of a function.

Inputs `kinds`, `scales`, `digits` and `values` of the enclosing function are the format's arrays; of its attributes,
`weight_shape` (ints) and `block` (ints: go, gi) are the weight's, `levels` (floats) what the digits stand for and `to`
(int) the ONNX element type to decode to.
"""

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onnxcomp.formats.digits import unpack_nodes
from onnxcomp.formats.functions import refer
from onnxcomp.formats.unified import FREE, UNIFIED

INPUTS = ("kinds", "scales", "digits", "values")
ATTRIBUTES = ("weight_shape", "block", "levels", "to")


def decode_nodes(weight: str) -> list[NodeProto]:
    """Nodes (opset 13 and up) that leave the decoded weight in `weight`; ORT folds them when the session loads.

    Blocks are rows of a table: one of zeros, the unified ones, the free ones. Running sums over the kinds say which row
    each block is; rows become the weight by a transposition.
    """
    return [*_shape_nodes(), *_row_nodes(), *_place_nodes(), *_weight_nodes(weight)]


def _constant(name: str, value: NDArray[np.generic]) -> NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name))


def _integers(name: str, *values: int) -> NodeProto:
    return _constant(name, np.array(values, np.int64))


def _shape_nodes() -> list[NodeProto]:
    """`sides` and `size` of a block, the grid of `blocks_out` x `blocks_in`, and the number of `blocks`."""
    node = helper.make_node
    return [
        refer(node("Constant", [], ["shape"]), value_ints="weight_shape"),
        refer(node("Constant", [], ["sides"]), value_ints="block"),
        refer(node("Constant", [], ["level_values"]), value_floats="levels"),
        _integers("first", 0),
        _integers("second", 1),
        _integers("third", 2),
        _integers("flat", -1),
        node("ReduceProd", ["sides"], ["size"], keepdims=1),
        node("ReduceProd", ["shape"], ["weights"], keepdims=1),
        node("Div", ["weights", "size"], ["blocks"]),
        node("Slice", ["shape", "first", "third"], ["channels"]),
        node("Div", ["channels", "sides"], ["grid"]),
    ]


def _row_nodes() -> list[NodeProto]:
    """`rows`: of zeros, of each unified block, of each free block."""
    node = helper.make_node
    return [
        node("Shape", ["level_values"], ["base"]),
        *unpack_nodes("digits", "base", "level_of_each"),
        node("Shape", ["scales"], ["unified_blocks"]),
        node("Mul", ["unified_blocks", "size"], ["unified_weights"]),
        node("Slice", ["level_of_each", "first", "unified_weights"], ["level_of_weight"]),
        refer(node("Cast", ["level_values"], ["levels_cast"]), to="to"),
        node("Gather", ["levels_cast", "level_of_weight"], ["multiples"]),
        node("Concat", ["unified_blocks", "size"], ["unified_shape"], axis=0),
        node("Reshape", ["multiples", "unified_shape"], ["multiples_by_block"]),
        refer(node("Cast", ["scales"], ["scales_cast"]), to="to"),
        node("Unsqueeze", ["scales_cast", "second"], ["scale_of_block"]),
        node("Mul", ["multiples_by_block", "scale_of_block"], ["unified_rows"]),
        refer(node("Cast", ["values"], ["values_cast"]), to="to"),
        node("Shape", ["values"], ["free_weights"]),
        node("Div", ["free_weights", "size"], ["free_blocks"]),
        node("Concat", ["free_blocks", "size"], ["free_shape"], axis=0),
        node("Reshape", ["values_cast", "free_shape"], ["free_rows"]),
        _constant("zero", np.zeros((1, 1), np.float32)),
        refer(node("Cast", ["zero"], ["zero_cast"]), to="to"),
        node("Concat", ["second", "size"], ["zero_shape"], axis=0),
        node("Expand", ["zero_cast", "zero_shape"], ["zero_row"]),
        node("Concat", ["zero_row", "unified_rows", "free_rows"], ["rows"], axis=0),
    ]


def _place_nodes() -> list[NodeProto]:
    """`row_of_block`. Where `kinds` says nothing of a block, it is unified."""
    node = helper.make_node
    kinds_of_byte = np.arange(256)[:, None] >> np.array([0, 2, 4, 6]) & 3

    def marks(of: str, kind: int) -> list[NodeProto]:
        """`of`_marks: 1 where a block is of `kind`; `of`_rank: how many of them there are up to it."""
        return [
            _constant(f"{of}_of_byte", (kinds_of_byte == kind).astype(np.uint8)),
            node("Gather", [f"{of}_of_byte", "kind_bytes"], [f"{of}_bits_by_byte"]),
            node("Cast", [f"{of}_bits_by_byte"], [f"{of}_by_byte"], to=TensorProto.INT32),
            node("Reshape", [f"{of}_by_byte", "flat"], [f"{of}_stated"]),
            _constant(f"{of}_otherwise", np.array([kind == UNIFIED], np.int32)),
            node("Expand", [f"{of}_otherwise", "blocks"], [f"{of}_unstated"]),
            node("Concat", [f"{of}_stated", f"{of}_unstated"], [f"{of}_padded"], axis=0),
            node("Slice", [f"{of}_padded", "first", "blocks"], [f"{of}_marks"]),
            node("CumSum", [f"{of}_marks", "axis"], [f"{of}_rank"]),
        ]

    return [
        _constant("axis", np.array(0, np.int32)),
        node("Cast", ["kinds"], ["kind_bytes"], to=TensorProto.INT32),
        *marks("unified", UNIFIED),
        *marks("free", FREE),
        node("Cast", ["unified_blocks"], ["rows_of_unified"], to=TensorProto.INT32),
        node("Add", ["free_rank", "rows_of_unified"], ["free_row"]),
        node("Mul", ["unified_rank", "unified_marks"], ["place_of_unified"]),
        node("Mul", ["free_row", "free_marks"], ["place_of_free"]),
        node("Add", ["place_of_unified", "place_of_free"], ["row_of_block"]),
    ]


def _weight_nodes(weight: str) -> list[NodeProto]:
    """(C_out / go, C_in / gi, taps, go, gi) to (C_out / go, go, C_in / gi, gi, taps), which is the weight's order."""
    node = helper.make_node
    return [
        node("Gather", ["rows", "row_of_block"], ["blocks_in_order"], axis=0),
        node("Concat", ["grid", "flat", "sides"], ["by_block"], axis=0),
        node("Reshape", ["blocks_in_order", "by_block"], ["apart"]),
        node("Transpose", ["apart"], ["together"], perm=[0, 3, 1, 4, 2]),
        node("Reshape", ["together", "shape"], [weight]),
    ]
