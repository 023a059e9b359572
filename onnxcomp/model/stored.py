"""Values that stay in the file until somebody asks for them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import SparseTensorProto, TensorProto, numpy_helper
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues

from onnxcomp.errors import ModelError
from onnxcomp.model.external import DataFolder, Span, is_external
from onnxcomp.model.tensors import BITS, numpy_type, packed_bytes

_MAX_DENSIFIED_BYTES = 1 << 30


class Stored(LazyValues):  # type: ignore[misc]
    """The values of a constant as the file holds them; `load` reads them, nothing is kept.

    shape (tuple), dtype (NumPy's or ml_dtypes'), nbytes (decoded) and stored_bytes (in the file) need no reading.
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
            elif BITS[tensor.data_type] >= 8:
                values = np.frombuffer(self.span.read(), self.dtype).reshape(self.shape)
            else:
                raw = TensorProto(dims=tensor.dims, data_type=tensor.data_type, raw_data=bytes(self.span.read()))
                values = numpy_helper.to_array(raw)
        except ValueError as error:
            raise ModelError(f"tensor {tensor.name!r} cannot be read: {error}") from error
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
            raise ModelError(f"sparse tensor {name!r} takes {self.nbytes} bytes when made dense, more than 1 GiB")
        dense = np.zeros(self.shape, self.dtype)
        values, indices = self.values.load().ravel(), self.indices.load()
        try:
            if indices.ndim == 2:
                indices = np.ravel_multi_index(tuple(indices.T), self.shape)
            elif indices.size and not 0 <= indices.min() <= indices.max() < dense.size:
                raise ValueError("index out of range")
            dense.ravel()[indices] = values
        except (ValueError, IndexError, TypeError) as error:
            raise ModelError(f"sparse tensor {name!r} cannot be read: {error}") from error
        dense.flags.writeable = False
        return dense
