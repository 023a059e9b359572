"""The codebook format, and `ai.onnxcomp::Codebook1`, `Codebook2`, `Codebook4` and `Codebook8`, which decode it.

    tensor (any shape)  ->  ids       uint8 [ceil(n b / 8)]   of element i, in row-major order: the b bits from bit
                                                              i b % 8 of byte i b // 8 on, least significant first
                            codebook  float [k]               the tensor's distinct values, in its own type

    Codebook<b>(ids, codebook) -> tensor
      shape  ints  the tensor's shape

n is the number of elements, b the least of 1, 2, 4 and 8 with k <= 2^b; the unused high bits of the last byte are zero.
Values are told apart by their bits and stand in the order of these as unsigned integers, so decoding gives back every
bit, signs of zeros and payloads of NaN included. A file is consistent exactly when every id is below k and the unused
bits are zero. At b = 8 it takes 1/4 of dense float32. The tensor is a weight, or the values of a bitmap, where zeros
then take one bit each. (Han et al., Deep Compression, ICLR 2016, section 3: weight sharing.)

Model-local functions only: no kernel of ours takes part, the runtime folds them into the tensor. Each width has a
function of its own, since a body cannot choose between them by an attribute.
"""

from dataclasses import dataclass
from math import prod
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from onnxcomp.formats.functions import DOMAIN, refer

MAX_VALUES = 256
BITS = MappingProxyType({f"Codebook{bits}": bits for bits in (1, 2, 4, 8)})  # of an id, by the function's name
_SAMPLE = 4096  # elements that tell cheaply of most tensors that they have too many values


@dataclass(frozen=True)
class Coded:
    """A tensor in the codebook format; see the module's head for the layout."""

    ids: NDArray[np.uint8]
    codebook: NDArray[np.floating]
    op: str  # a key of BITS

    @property
    def size_bytes(self) -> int:
        """Bytes the two arrays take in the file."""
        return int(self.ids.nbytes + self.codebook.nbytes)


def encode(tensor: NDArray[np.floating]) -> Coded | None:
    """`tensor` (float16, float32 or float64) in the codebook format; None where it has more than 256 values."""
    bits = np.ascontiguousarray(tensor).ravel().view(f"u{tensor.itemsize}")
    if np.unique(bits[:_SAMPLE]).size > MAX_VALUES:
        return None
    values, ids = np.unique(bits, return_inverse=True)
    if values.size > MAX_VALUES:
        return None
    op = next(op for op, width in BITS.items() if values.size <= 2**width)
    return Coded(_pack(ids.astype(np.uint8), BITS[op]), values.view(tensor.dtype), op)


def decode(stored: Coded, shape: tuple[int, ...]) -> NDArray[np.floating]:
    """The tensor, of `shape`. Raises ValueError where ids, codebook and shape disagree."""
    size, width = prod(shape), BITS[stored.op]
    if stored.ids.dtype != np.uint8 or stored.ids.ndim != 1:
        raise ValueError(f"ids are {stored.ids.dtype} of rank {stored.ids.ndim}, not uint8 of rank 1")
    if stored.codebook.ndim != 1:
        raise ValueError(f"the codebook has rank {stored.codebook.ndim}, not 1")
    if stored.ids.size != -(-size * width // 8):
        raise ValueError(f"ids have {stored.ids.size} bytes, {size} of {width} bits need {-(-size * width // 8)}")
    ids = _unpack(stored.ids, width)
    if ids[size:].any():
        raise ValueError("ids have bits set past the last one")
    if size and int(ids.max()) >= stored.codebook.size:
        raise ValueError(f"id {int(ids.max())} is out of the codebook's {stored.codebook.size} values")
    return stored.codebook[ids[:size]].reshape(shape)


def _pack(ids: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    per_byte = 8 // width
    padded = np.zeros((-(-ids.size // per_byte), per_byte), np.uint8)
    padded.ravel()[: ids.size] = ids
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(padded << _shifts(width), axis=1)
    return packed


def _unpack(packed: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    return ((packed[:, None] >> _shifts(width)) & np.uint8(2**width - 1)).ravel()


def _shifts(width: int) -> NDArray[np.uint8]:
    return np.arange(0, 8, width, dtype=np.uint8)


def function(op: str, opset: int) -> FunctionProto:
    """The definition of `op`, a key of BITS, for a model of default-domain opset `opset` (13 or later)."""
    node = helper.make_node
    body = [
        refer(node("Constant", [], ["sizes"]), value_ints="shape"),
        *([node("Identity", ["ids"], ["id"])] if BITS[op] == 8 else _unpacking_nodes(BITS[op])),
        node("Cast", ["id"], ["index"], to=TensorProto.INT32),
        node("Gather", ["codebook", "index"], ["flat"]),
        node("Reshape", ["flat", "sizes"], ["tensor"]),
    ]
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_function(DOMAIN, op, ["ids", "codebook"], ["tensor"], body, opsets, ["shape"])


def _unpacking_nodes(width: int) -> list[NodeProto]:
    """`id` uint8 [n] from `ids` and `sizes`, by a table: several times faster than shifting and masking."""
    node = helper.make_node

    def constant(name: str, value: NDArray[np.generic]) -> NodeProto:
        return node("Constant", [], [name], value=numpy_helper.from_array(value, name))

    every_byte = np.arange(256, dtype=np.uint8)
    return [
        constant("ids_of_byte", _unpack(every_byte, width).reshape(256, 8 // width)),
        constant("first", np.array([0], np.int64)),
        constant("all", np.array([-1], np.int64)),
        node("Cast", ["ids"], ["bytes"], to=TensorProto.INT32),
        node("Gather", ["ids_of_byte", "bytes"], ["ids_by_byte"]),
        node("Reshape", ["ids_by_byte", "all"], ["ids_padded"]),
        node("ReduceProd", ["sizes"], ["size"], keepdims=1),
        node("Slice", ["ids_padded", "first", "size"], ["id"]),
    ]


def node(op: str, inputs: list[str], output: str, shape: tuple[int, ...]) -> NodeProto:
    """A node of `op`, a key of BITS. `inputs` are ids and codebook; `shape` is the tensor's."""
    return helper.make_node(op, inputs, [output], domain=DOMAIN, shape=list(shape))
