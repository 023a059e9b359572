"""Tensors: what a TensorProto must hold to be sound, how many bytes it takes, its values on demand, and back."""

import math
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import SparseTensorProto, TensorProto, TypeProto, ValueInfoProto, helper, numpy_helper
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues

from onnxcomp.errors import ModelError
from onnxcomp.model.external import DataFolder, Span, is_external

# Bits an element takes in raw_data, by TensorProto.DataType (numbers, since an older onnx lacks the newest names).
_BITS = {
    **dict.fromkeys((1, 6, 12), 32),  # FLOAT, INT32, UINT32
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),  # UINT8, INT8, BOOL, FLOAT8*
    **dict.fromkeys((4, 5, 10, 16), 16),  # UINT16, INT16, FLOAT16, BFLOAT16
    **dict.fromkeys((7, 11, 13, 14), 64),  # INT64, DOUBLE, UINT64, COMPLEX64
    15: 128,  # COMPLEX128
    **dict.fromkeys((21, 22, 23), 4),  # UINT4, INT4, FLOAT4E2M1
    **dict.fromkeys((25, 26), 2),  # UINT2, INT2
    **dict.fromkeys((27, 28), 6),  # FLOAT6E2M3, FLOAT6E3M2
}
_MAX_DENSIFIED_BYTES = 1 << 30


def packed_bytes(data_type: int, elements: int) -> int:
    """Bytes that `elements` of `data_type` take in raw_data or an external file."""
    return (elements * _BITS[data_type] + 7) // 8


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
    where = f"tensor '{tensor.name}'"
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
    bits = _BITS.get(tensor.data_type, 0)
    if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return elements * 2, stored, "values"
    if bits in (2, 4):  # several elements to an entry
        return -(-elements * bits // 8), stored, "values"
    return elements, stored, "values"


class Stored(LazyValues):  # type: ignore[misc]
    """The values of a constant as the file holds them; `load` reads them, nothing is kept.

    shape (tuple), dtype (NumPy's or ml_dtypes'), nbytes (decoded), stored_bytes (in the file) are known without reading.
    """

    def __init__(self, tensor: TensorProto, folder: DataFolder) -> None:
        self.tensor = tensor
        self.shape = tuple(tensor.dims)
        dtype = numpy_type(tensor.data_type)
        assert dtype is not None, "validated before"
        self.dtype = dtype
        elements = math.prod(self.shape)
        self.nbytes = elements * dtype.itemsize
        self.span: Span | None = None
        if tensor.data_type == TensorProto.STRING:
            self.stored_bytes = sum(map(len, tensor.string_data))
        else:
            self.stored_bytes = packed_bytes(tensor.data_type, elements)
        if is_external(tensor):
            self.span = folder.span(tensor, self.stored_bytes)

    def load(self) -> NDArray[Any]:
        """The values, read-only. Raises ModelError where they cannot be read."""
        tensor = self.tensor
        try:
            if self.span is None:
                values = numpy_helper.to_array(tensor)
            elif _BITS[tensor.data_type] >= 8:
                values = np.frombuffer(self.span.read(), self.dtype).reshape(self.shape)
            else:
                raw = TensorProto(dims=tensor.dims, data_type=tensor.data_type, raw_data=self.span.read())
                values = numpy_helper.to_array(raw)
        except ValueError as error:
            raise ModelError(f"tensor '{tensor.name}' cannot be read: {error}") from error
        values.flags.writeable = False
        return values


class StoredSparse(SparseValues):  # type: ignore[misc]
    """The values of a sparse initializer; `load` gives them dense."""

    def __init__(self, tensor: SparseTensorProto, folder: DataFolder) -> None:
        self.tensor = tensor
        self.shape = tuple(tensor.dims)
        self.values = Stored(tensor.values, folder)
        self.indices = Stored(tensor.indices, folder)
        self.dtype = self.values.dtype
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        self.stored_bytes = self.values.stored_bytes + self.indices.stored_bytes

    def load(self) -> NDArray[Any]:
        """The dense values, read-only. Raises ModelError where indices are out of range or the result is over 1 GiB."""
        name = self.tensor.values.name
        if self.nbytes > _MAX_DENSIFIED_BYTES:
            raise ModelError(f"sparse tensor '{name}' takes {self.nbytes} bytes when made dense, more than 1 GiB")
        dense = np.zeros(self.shape, self.dtype)
        values, indices = self.values.load().ravel(), self.indices.load()
        try:
            if indices.ndim == 2:
                indices = np.ravel_multi_index(tuple(indices.T), self.shape)
            elif indices.size and not 0 <= indices.min() <= indices.max() < dense.size:
                raise ValueError("index out of range")
            dense.ravel()[indices] = values
        except (ValueError, IndexError, TypeError) as error:
            raise ModelError(f"sparse tensor '{name}' cannot be read: {error}") from error
        dense.flags.writeable = False
        return dense


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
    return np.array_equal(*(np.ascontiguousarray(side).reshape(-1).view(np.uint8) for side in (array, loaded)))


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
    """The values as a message; an array takes doc and metadata from `like`. A stored one may be the message it is in."""
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
    if like is not None:
        if like.HasField("doc_string"):
            result.doc_string = like.doc_string
        result.metadata_props.extend(like.metadata_props)


def packed(array: NDArray[Any]) -> memoryview:
    """The bytes of `array` as raw_data would hold them: a view of it where nothing needs packing."""
    if _BITS[element_type(array)] < 8:
        return memoryview(numpy_helper.from_array(array).raw_data)
    return memoryview(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
