"""Digits of a small base, 16 to an integer: what a number of levels that is no power of two takes the least bytes in.

    digits (n,), each from 0 to base - 1  ->  packed  uint8 [ceil(n / 16), bytes_of_group(base)]

Row g is the integer sum over i < 16 of base^i digits[16 g + i], its lowest byte first; digits past the last are zero.
Base 2 takes 2 bytes a row, 3 and 4 take 4, 5 takes 5: 1, 2, 2 and 2.5 bits a digit.
"""

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

GROUP = 16
MOST = 9  # 9^16 < 2^53: ONNX Runtime's sums of int64 are exact up to there
_HALF = 8  # digits that an int32 holds


def bytes_of_group(base: int) -> int:
    """Bytes that 16 digits of `base` (2 to MOST) take."""
    return (int(base**GROUP - 1).bit_length() + 7) // 8


def pack(digits: NDArray[np.integer], base: int) -> NDArray[np.uint8]:
    """`digits` (n,) of `base` as rows of bytes."""
    padded = np.zeros(-(-digits.size // GROUP) * GROUP, np.int64)
    padded[: digits.size] = digits
    numbers = padded.reshape(-1, GROUP) @ np.array([base**i for i in range(GROUP)], np.int64)
    return np.ascontiguousarray(numbers.astype("<i8")[:, None].view(np.uint8)[:, : bytes_of_group(base)])


def unpack(packed: NDArray[np.uint8], size: int, base: int) -> NDArray[np.int64]:
    """The first `size` digits. Raises ValueError where `packed` does not hold exactly that many of `base`."""
    shape = (-(-size // GROUP), bytes_of_group(base))
    if packed.shape != shape:
        raise ValueError(f"digits have shape {packed.shape}, {size} of base {base} take {shape}")
    whole = np.zeros((shape[0], 8), np.uint8)
    whole[:, : shape[1]] = packed
    numbers = whole.view("<u8")[:, 0]
    if (numbers >= base**GROUP).any():
        raise ValueError(f"digits hold a number of more than {GROUP} digits of base {base}")
    signed = numbers.astype(np.int64)[:, None]
    digits: NDArray[np.int64] = (signed // np.array([base**i for i in range(GROUP)], np.int64) % base).ravel()
    if digits[size:].any():
        raise ValueError("digits past the last one are not zero")
    return digits[:size]


def unpack_nodes(packed: str, base: str, digits: str) -> list[NodeProto]:
    """Standard operators (opset 13 and up) from `packed` and `base` (int64 [1]) to `digits` (int32), padding included.

    Halves of a row's number fit into int32, and all that is as large as the weight is made of these.
    """
    node = helper.make_node

    def constant(name: str, values: list[int]) -> NodeProto:
        return node("Constant", [], [name], value=numpy_helper.from_array(np.array(values, np.int64), name))

    return [
        constant("places_of_bytes", [256**i for i in range(8)]),
        constant("exponents", list(range(_HALF))),
        constant("half", [_HALF]),
        constant("start", [0]),
        constant("middle", [1]),
        constant("rest", [2]),
        constant("all", [-1]),
        node("Shape", [packed], ["packed_shape"]),
        node("Slice", ["packed_shape", "middle", "rest"], ["bytes_of_row"]),
        node("Slice", ["places_of_bytes", "start", "bytes_of_row"], ["places"]),
        node("Cast", [packed], ["byte_values"], to=TensorProto.INT64),
        node("Mul", ["byte_values", "places"], ["byte_parts"]),
        node("ReduceSum", ["byte_parts", "middle"], ["numbers"], keepdims=1),
        node("Pow", [base, "half"], ["base_of_halves"]),
        node("Mod", ["numbers", "base_of_halves"], ["low_halves"]),
        node("Div", ["numbers", "base_of_halves"], ["high_halves"]),
        node("Concat", ["low_halves", "high_halves"], ["halves"], axis=1),
        node("Unsqueeze", ["halves", "rest"], ["halves_apart"]),
        node("Cast", ["halves_apart"], ["halves_32"], to=TensorProto.INT32),
        node("Pow", [base, "exponents"], ["powers"]),
        node("Cast", ["powers"], ["powers_32"], to=TensorProto.INT32),
        node("Cast", [base], ["base_32"], to=TensorProto.INT32),
        node("Div", ["halves_32", "powers_32"], ["shifted_digits"]),
        node("Mod", ["shifted_digits", "base_32"], ["digits_by_half"]),
        node("Reshape", ["digits_by_half", "all"], [digits]),
    ]
