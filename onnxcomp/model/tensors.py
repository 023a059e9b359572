"""Tensors in a file: their types, the bytes they take, and whether a TensorProto is sound."""

import math
from typing import Any

import numpy as np
from onnx import TensorProto, TypeProto, helper

from onnxcomp.errors import ModelError
from onnxcomp.model.external import DataFolder, is_external

# Bits an element takes in raw_data, by TensorProto.DataType (numbers, since an older onnx lacks the newest names).
BITS = {
    **dict.fromkeys((1, 6, 12), 32),  # FLOAT, INT32, UINT32
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),  # UINT8, INT8, BOOL, FLOAT8*
    **dict.fromkeys((4, 5, 10, 16), 16),  # UINT16, INT16, FLOAT16, BFLOAT16
    **dict.fromkeys((7, 11, 13, 14), 64),  # INT64, DOUBLE, UINT64, COMPLEX64
    15: 128,  # COMPLEX128
    **dict.fromkeys((21, 22, 23), 4),  # UINT4, INT4, FLOAT4E2M1
    **dict.fromkeys((25, 26), 2),  # UINT2, INT2
    **dict.fromkeys((27, 28), 6),  # FLOAT6E2M3, FLOAT6E3M2
}


def packed_bytes(data_type: int, elements: int) -> int:
    """Bytes that `elements` of `data_type` take in raw_data or an external file."""
    return (elements * BITS[data_type] + 7) // 8


def numpy_type(data_type: int) -> np.dtype[Any] | None:
    """The NumPy type (of ml_dtypes where NumPy has none) for a TensorProto.DataType; None where there is none."""
    try:
        return np.dtype(helper.tensor_dtype_to_np_dtype(data_type))
    except KeyError:
        return None


def dimensions(type_: TypeProto.Tensor) -> list[int | str | None] | None:
    """The shape in `type_`: numbers, names, None where a dimension is unknown; None where the rank is."""
    if not type_.HasField("shape"):
        return None
    return [getattr(dim, dim.WhichOneof("value") or "", None) for dim in type_.shape.dim]


def validate(tensor: TensorProto, folder: DataFolder) -> None:
    """Raise ModelError unless type, dimensions and payload of `tensor` agree and its external data is there."""
    where = f"tensor {tensor.name!r}"
    if numpy_type(tensor.data_type) is None:
        raise ModelError(f"{where}: unknown element type {tensor.data_type}")
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"{where}: negative dimension in {list(tensor.dims)}")
    if tensor.HasField("segment"):
        raise ModelError(f"{where}: stored in segments, which no runtime reads; save the model in whole tensors")
    elements = math.prod(tensor.dims)
    if is_external(tensor):
        if tensor.data_type == TensorProto.STRING:
            raise ModelError(f"{where}: strings cannot be external data")
        folder.span(tensor, packed_bytes(tensor.data_type, elements))
        return
    expected, found, unit = _payload(tensor, elements)
    if expected != found:
        raise ModelError(f"{where}: shape {list(tensor.dims)} needs {expected} {unit}, the file holds {found}")


def _payload(tensor: TensorProto, elements: int) -> tuple[int, int, str]:
    """How many bytes or values `elements` need, how many `tensor` holds, and the unit."""
    if tensor.HasField("raw_data") and tensor.data_type != TensorProto.STRING:
        return packed_bytes(tensor.data_type, elements), len(tensor.raw_data), "bytes"
    stored = len(getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type)))
    bits = BITS.get(tensor.data_type, 0)
    if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return elements * 2, stored, "values"
    if bits in (2, 4):  # several elements to an entry
        return -(-elements * bits // 8), stored, "values"
    return elements, stored, "values"
