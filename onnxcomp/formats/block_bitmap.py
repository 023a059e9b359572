"""The block bitmap: a weight whose zeros come in blocks of b neighbouring output channels, one bit a block.

    weight (C_out, C_in / group, k...), b divides C_out / group
      -> mask    uint8   [ceil(n / 8)]  n = C_out / b * C_in / group * k...: block i, in row-major order of
                                        (C_out / b, C_in / group, k...), is bit i % 8 of byte i // 8
         values  float32 [kept * b]     the b output channels of each block kept, blocks in the same order; zeros among
                 float16                them are stored like any value; float16 where that loses nothing

The mask is a bitmap (bitmap.py) of the blocks, b times smaller than one of the elements. A file is consistent exactly
when b * popcount(mask) == len(values) and the unused bits are zero.
"""

from math import prod

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onnxcomp.formats.bitmap import Bitmap, narrowest
from onnxcomp.formats.functions import refer


def encode(weight: NDArray[np.floating], height: int) -> Bitmap:
    """Encode `weight` in blocks of `height` output channels. Raises ValueError where they do not divide."""
    columns = _columns(weight.shape, height)
    rows = weight.shape[0] // height
    blocks = (
        np.ascontiguousarray(weight).reshape(rows, height, columns).transpose(0, 2, 1).reshape(rows * columns, height)
    )
    kept = (blocks != 0).any(axis=1)
    values = blocks[kept].ravel() + weight.dtype.type(0)  # negative zeros become zeros
    return Bitmap(np.packbits(kept, bitorder="little"), narrowest(values))


def decode(
    stored: Bitmap, shape: tuple[int, ...], height: int, dtype: np.dtype | type = np.float32
) -> NDArray[np.floating]:
    """The weight, of `shape` and `dtype`. Raises ValueError where mask, values, shape and `height` disagree."""
    columns = _columns(shape, height)
    blocks = shape[0] // height * columns
    if stored.mask.size != (blocks + 7) // 8:
        raise ValueError(f"mask has {stored.mask.size} bytes, {blocks} blocks need {(blocks + 7) // 8}")
    bits = np.unpackbits(stored.mask, bitorder="little")
    if bits[blocks:].any():
        raise ValueError("mask has bits set past its last block")
    kept = bits[:blocks].astype(bool)
    if int(kept.sum()) * height != stored.values.size:
        raise ValueError(f"mask marks {int(kept.sum())} blocks of {height}, {stored.values.size} values are stored")
    decoded = np.zeros((blocks, height), dtype)
    decoded[kept] = stored.values.reshape(-1, height)
    return decoded.reshape(shape[0] // height, columns, height).transpose(0, 2, 1).reshape(shape)


def _columns(shape: tuple[int, ...], height: int) -> int:
    if shape[0] % height:
        raise ValueError(f"blocks of {height} do not divide {shape[0]} output channels")
    return prod(shape[1:])


def decode_nodes(mask: str, values: str, weight: str) -> list[NodeProto]:
    """Standard operators (opset 13 and up) that decode inside a function body; ORT folds them when the session loads.

    `mask`, `values` and `weight` name the tensors. The enclosing function has the attributes `weight_shape` (ints),
    `block` (ints: b) and `to` (the weight's ONNX element type). Bits become rows of `values` by a running sum, row 0
    being the block of zeros put in front of them; rows turn into output channels by a transposition.
    """
    node = helper.make_node

    def constant(name: str, value: NDArray[np.generic]) -> NodeProto:
        return node("Constant", [], [name], value=numpy_helper.from_array(value, name))

    return [
        refer(node("Constant", [], ["shape"]), value_ints="weight_shape"),
        refer(node("Constant", [], ["height"]), value_ints="block"),
        constant("bit_positions", np.arange(8, dtype=np.uint8)),
        constant("two", np.array(2, np.uint8)),
        constant("first", np.array([0], np.int64)),
        constant("last_axis", np.array([1], np.int64)),
        constant("flat", np.array([-1], np.int64)),
        constant("axis", np.array(0, np.int32)),
        constant("zero", np.zeros((1, 1), np.float32)),
        # Bits, one a block.
        node("Unsqueeze", [mask, "last_axis"], ["bytes"]),
        node("BitShift", ["bytes", "bit_positions"], ["shifted"], direction="RIGHT"),
        node("Mod", ["shifted", "two"], ["bits_by_byte"]),
        node("Reshape", ["bits_by_byte", "flat"], ["bits_padded"]),
        node("ReduceProd", ["shape"], ["size"], keepdims=1),
        node("Div", ["size", "height"], ["blocks"]),
        node("Slice", ["bits_padded", "first", "blocks"], ["bits"]),
        node("Cast", ["bits"], ["kept"], to=TensorProto.INT32),
        node("CumSum", ["kept", "axis"], ["rank"]),
        node("Mul", ["rank", "kept"], ["position"]),
        # Blocks as rows of a table.
        refer(node("Cast", [values], ["stored"]), to="to"),
        refer(node("Cast", ["zero"], ["no_value"]), to="to"),
        node("Concat", ["flat", "height"], ["table_shape"], axis=0),
        node("Reshape", ["stored", "table_shape"], ["kept_rows"]),
        node("Concat", ["last_axis", "height"], ["row_shape"], axis=0),
        node("Expand", ["no_value", "row_shape"], ["zero_row"]),
        node("Concat", ["zero_row", "kept_rows"], ["table"], axis=0),
        node("Gather", ["table", "position"], ["rows"], axis=0),
        # (C_out / b, columns, b) to (C_out / b, b, columns), which is the weight's order.
        node("Slice", ["shape", "first", "last_axis"], ["outputs"]),
        node("Div", ["outputs", "height"], ["block_rows"]),
        node("Concat", ["block_rows", "flat", "height"], ["by_row"], axis=0),
        node("Reshape", ["rows", "by_row"], ["blocks_by_row"]),
        node("Transpose", ["blocks_by_row"], ["weight_by_row"], perm=[0, 2, 1]),
        node("Reshape", ["weight_by_row", "shape"], [weight]),
    ]
