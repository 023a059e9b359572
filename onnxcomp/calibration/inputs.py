"""What a model wants to be fed, and whether an array is that."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from onnxcomp.errors import DataError

Dim = int | str | None
"""A dimension as a model declares it: fixed, a symbol, or unknown."""

_DTYPES = MappingProxyType(
    {
        "tensor(bool)": np.dtype(np.bool_),
        "tensor(double)": np.dtype(np.float64),
        "tensor(float)": np.dtype(np.float32),
        "tensor(float16)": np.dtype(np.float16),
        **{f"tensor({name})": np.dtype(name) for name in ("int8", "int16", "int32", "int64")},
        **{f"tensor({name})": np.dtype(name) for name in ("uint8", "uint16", "uint32", "uint64")},
    }
)


@dataclass(frozen=True)
class InputSpec:
    """One input: its name, element type and declared shape, whose first dimension counts samples."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[Dim, ...]

    @property
    def fixed_batch(self) -> int | None:
        """The number of samples that every call must bring, where the model fixes it."""
        return self.shape[0] if self.shape and isinstance(self.shape[0], int) else None

    def __str__(self) -> str:
        return f"{self.dtype.name}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"

    def fit(self, array: NDArray[Any], where: str) -> NDArray[Any]:
        """`array` (samples first, any number of them) in this input's type.

        Raises DataError, which says it happened in `where`, for another shape or for values the type cannot hold.
        """
        self.check_shape(array.shape, where)
        return _cast(array, self.dtype, f"{where}: input '{self.name}'")

    def check_shape(self, shape: tuple[int, ...], where: str) -> None:
        """Raise DataError unless `shape` (samples first, any number of them) is one that this input takes."""
        if _fits(shape, self.shape):
            return
        raise DataError(f"{where}: input '{self.name}' takes {self}, the data has {list(shape)}{self._advice(shape)}")

    def _advice(self, shape: tuple[int, ...]) -> str:
        if len(shape) == 4 == len(self.shape):
            n, a, b, c = shape
            if _fits((n, c, a, b), self.shape):
                return "; it has channels last: transpose it with (0, 3, 1, 2)"
            if _fits((n, b, c, a), self.shape):
                return "; it has channels first: transpose it with (0, 2, 3, 1)"
        if _fits((1, *shape), self.shape):
            return "; put an axis that counts samples in front"
        return "; reshape it"


def inputs_of(session: ort.InferenceSession) -> list[InputSpec]:
    """The inputs of a loaded model. Raises DataError for one that no array can feed."""
    specs = []
    for node in session.get_inputs():
        if node.type not in _DTYPES:
            raise DataError(f"input '{node.name}' is a {node.type}, which NumPy arrays cannot feed")
        specs.append(InputSpec(node.name, _DTYPES[node.type], tuple(node.shape)))
    return specs


def batched_alike(inputs: Sequence[InputSpec]) -> bool:
    """Whether all inputs count samples along their first dimension, and any fixed number of them is the same."""
    fixed = {spec.fixed_batch for spec in inputs} - {None}
    return all(spec.shape for spec in inputs) and len(fixed) <= 1


def shared_batch(inputs: Sequence[InputSpec], where: str) -> int | None:
    """The one fixed batch of the inputs, None where it is free. Raises DataError where they are not batched alike."""
    if not batched_alike(inputs):
        shapes = ", ".join(f"{spec.name} {spec}" for spec in inputs)
        raise DataError(
            f"{where}: inputs {shapes} share no first dimension to cut along; give feeds with module:function"
        )
    return next((spec.fixed_batch for spec in inputs if spec.fixed_batch is not None), None)


def _fits(shape: tuple[int, ...], declared: tuple[Dim, ...]) -> bool:
    if len(shape) != len(declared):
        return False
    return all(not isinstance(want, int) or want == have for have, want in zip(shape[1:], declared[1:], strict=True))


def _cast(array: NDArray[Any], dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """Between numbers, as long as no value changes; floats may round, as 64 to 32 bits do, but not overflow."""
    if array.dtype == dtype:
        return array
    if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and dtype.kind != "f"):
        raise DataError(f"{what} takes {dtype.name}, the data is {array.dtype.name}; convert it")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
        if array.dtype.itemsize < dtype.itemsize and np.can_cast(array.dtype, dtype, "safe"):
            return cast  # of equal size NumPy calls int64 to float64 safe too
        if array.dtype.kind == "f":
            kept = np.isfinite(cast) | ~np.isfinite(array)
        else:  # there and back alone would let -1 through an unsigned type
            kept = (cast == array) & (cast.astype(array.dtype) == array)
    if not kept.all():
        raise DataError(f"{what} takes {dtype.name}, which cannot hold the data's {array[~kept].flat[0]}; convert it")
    return cast
