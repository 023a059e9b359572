"""Arrays as a source: an .npz, an .npy, or a mapping in Python."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onnxcomp.calibration import npy
from onnxcomp.calibration.inputs import InputSpec, shared_batch
from onnxcomp.calibration.samples import Samples
from onnxcomp.errors import DataError

LABELS = "labels"
_ZIP_MAGIC, _NPY_MAGIC = b"PK", b"\x93NUMPY"


class Column(Protocol):
    """One array, samples first, wherever it is."""

    @property
    def shape(self) -> tuple[int, ...]:
        """All of it."""

    def rows(self, size: int) -> Iterator[NDArray[Any]]:
        """`size` samples at a time, from the first."""


@dataclass(frozen=True)
class HeldArray:
    """A column in memory."""

    array: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def rows(self, size: int) -> Iterator[NDArray[Any]]:
        for start in range(0, len(self.array), size):
            yield self.array[start : start + size]


@dataclass(frozen=True)
class ArraySource:
    """Columns of equal length, one for each input."""

    name: str
    kind: str
    columns: Mapping[str, Column]
    labels: NDArray[Any] | None
    notes: tuple[str, ...]

    @property
    def count(self) -> int:
        return next(iter(self.columns.values())).shape[0]

    def read(self, size: int) -> Iterator[Samples]:
        for parts in zip(*(column.rows(size) for column in self.columns.values()), strict=True):
            yield Samples(dict(zip(self.columns, parts, strict=True)))


def from_file(path: Path, inputs: Sequence[InputSpec]) -> ArraySource:
    """The arrays of an .npz or .npy, told apart by their first bytes. Raises DataError."""
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_NPY_MAGIC))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if magic == _NPY_MAGIC:
        return _match(str(path), "npy", {path.stem: npy.NpyArray.find(path)}, inputs)
    if magic.startswith(_ZIP_MAGIC):
        return _match(str(path), "npz", npy.members(path), inputs)
    raise DataError(f"{path}: neither .npz nor .npy; save the inputs with numpy.savez, or give a folder of images")


def from_mapping(arrays: Mapping[str, Any], inputs: Sequence[InputSpec]) -> ArraySource:
    """Arrays, or what NumPy makes arrays of, by input name. Raises DataError."""
    columns: dict[str, HeldArray] = {}
    for name, value in arrays.items():
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise DataError(f"the data given: '{name}' is not an array: {error}") from error
        if array.dtype.hasobject:
            raise DataError(f"the data given: '{name}' holds Python objects; give numbers")
        columns[name] = HeldArray(array)
    return _match("the data given", "arrays", columns, inputs)


def _match(where: str, kind: str, columns: Mapping[str, Column], inputs: Sequence[InputSpec]) -> ArraySource:
    """Find each input's column, and the labels."""
    shared_batch(inputs, where)  # before lengths are compared, which would say less
    names = [spec.name for spec in inputs]
    labels = columns.get(LABELS) if LABELS not in names else None
    rest = [name for name in columns if labels is None or name != LABELS]
    sources = dict(zip(names, rest if len(names) == len(rest) == 1 else names, strict=True))
    if not all(source in rest for source in sources.values()):
        raise DataError(
            f"{where}: it has {_listed(rest)}, the model's inputs are {_listed(names)}; name the arrays as the inputs, "
            f"and labels '{LABELS}'"
        )
    chosen = {name: columns[source] for name, source in sources.items()}
    for spec in inputs:
        spec.check_shape(chosen[spec.name].shape, where)
    _require_equal_lengths(where, chosen if labels is None else {**chosen, LABELS: labels})
    unused = [name for name in rest if name not in sources.values()]
    notes = (f"{where}: {_listed(unused)} not used: the model has no such input",) if unused else ()
    return ArraySource(where, kind, chosen, None if labels is None else _whole(labels), notes)


def _require_equal_lengths(where: str, columns: Mapping[str, Column]) -> None:
    lengths = {name: column.shape[0] if column.shape else 0 for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"{where}: unequal numbers of samples: {found}; give as many of each")


def _whole(column: Column) -> NDArray[Any]:
    parts = list(column.rows(max(1, column.shape[0])))
    return parts[0] if parts else np.empty(column.shape)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "no arrays"
