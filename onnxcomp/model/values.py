"""The values of a constant, as stored or as a pass has set them, and the messages they go out as."""

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper
from onnx_graphsurgeon.ir.tensor import LazyValues

from onnxcomp.model.stored import Stored, StoredSparse
from onnxcomp.model.tensors import BITS, numpy_type, packed_bytes

Values = Stored | StoredSparse | NDArray[Any]


def current_values(tensor: gs.Tensor) -> Values:
    """The values of a constant: as the file holds them while they are the same, else the array a pass has set.

    `tensor` may also be an input with a default value (see importer.py).
    """
    origin: Stored | StoredSparse | None = getattr(tensor, "origin", None)
    if not isinstance(tensor, gs.Constant):
        assert origin is not None, "only an input with a default value"
        return origin
    values = tensor._values
    if isinstance(values, (Stored, StoredSparse)):
        return values
    if isinstance(values, LazyValues):  # of a graph that somebody imported with graphsurgeon alone
        values = values.load()
    if isinstance(tensor._export_dtype, int):
        values = values.astype(numpy_type(tensor._export_dtype), copy=False)
    elif tensor._export_dtype is not None:
        values = values.astype(tensor._export_dtype, copy=False)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    return origin if origin is not None and _same_bits(values, origin) else values


def _same_bits(array: NDArray[Any], stored: Stored | StoredSparse) -> bool:
    if array.shape != stored.shape or array.dtype != stored.dtype:
        return False
    loaded = stored.load()
    if array.dtype == object:
        return bool(np.array_equal(array, loaded))
    return np.array_equal(_bytes(array), _bytes(loaded))


def element_type(values: Values) -> int:
    """The TensorProto.DataType of the values."""
    match values:
        case Stored():
            return int(values.tensor.data_type)
        case StoredSparse():
            return int(values.tensor.values.data_type)
        case _:
            return helper.np_dtype_to_tensor_dtype(values.dtype)


def stored_bytes(values: Values) -> int:
    """Bytes the values take in a file."""
    if isinstance(values, (Stored, StoredSparse)):
        return values.stored_bytes
    if values.dtype.kind in "OUS":
        return sum(len(str(text).encode()) for text in values.ravel())
    return packed_bytes(element_type(values), values.size)


def value_info(name: str, values: Values) -> ValueInfoProto:
    """What an input would declare that takes such values."""
    return helper.make_tensor_value_info(name, element_type(values), values.shape)


def tensor_message(name: str, values: Stored | NDArray[Any], like: TensorProto | None = None) -> TensorProto:
    """The values as a message, for stored ones perhaps the one they are in; an array takes its texts from `like`."""
    if isinstance(values, Stored) and values.tensor.name == name:
        return values.tensor
    result = TensorProto()
    if isinstance(values, Stored):
        result.CopyFrom(values.tensor)
        result.name = name
        return result
    result = numpy_helper.from_array(values, name)
    _describe(result, like)
    return result


def external_message(name: str, array: NDArray[Any], like: TensorProto | None = None) -> TensorProto:
    """The message for an array whose bytes go to a file; where, is not said yet."""
    result = TensorProto(name=name, data_type=element_type(array), dims=array.shape)
    result.data_location = TensorProto.EXTERNAL
    _describe(result, like)
    return result


def _describe(result: TensorProto, like: TensorProto | None) -> None:
    """Carry over the texts of `like`."""
    if like is not None:
        if like.HasField("doc_string"):
            result.doc_string = like.doc_string
        result.metadata_props.extend(like.metadata_props)


def packed(array: NDArray[Any]) -> memoryview:
    """The bytes of `array` as raw_data would hold them: a view of it where nothing needs packing."""
    if BITS[element_type(array)] < 8:
        return memoryview(numpy_helper.from_array(array).raw_data)
    return _bytes(array).data


def _bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The memory of `array`, in row-major order."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
