"""Arrays in .npy form, alone in a file or as members of an .npz, read from the front a few rows at a time.

`numpy.load` reads a member of an .npz whole, which a set of images need not fit. Pickled objects are never loaded.
"""

import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.errors import DataError

DAMAGED = (OSError, ValueError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged, encrypted or foreign file raises."""

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class NpyArray:
    """One stored array. `member`: its name in the .npz at `path`; None where `path` is an .npy itself."""

    path: Path
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    column_major: bool

    @classmethod
    def find(cls, path: Path, member: str | None = None) -> "NpyArray":
        """Read the header. Raises DataError where there is none, or no numbers, or less data than it promises."""
        where = _where(path, member)
        try:
            with _open(path, member) as stream:
                shape, column_major, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
                stored = _size(path, member) - stream.tell()
        except (*DAMAGED, KeyError) as error:
            raise DataError(
                f"{where}: not an array in .npy form ({error}); save it with numpy.save or savez"
            ) from error
        if dtype.hasobject:
            raise DataError(f"{where}: it holds pickled Python objects, which are never loaded; save plain numbers")
        if min(shape, default=0) < 0 or stored < math.prod(shape) * dtype.itemsize:
            raise DataError(f"{where}: truncated, {stored} bytes cannot hold {dtype.name}{list(shape)}; save it again")
        return cls(path, member, shape, dtype, column_major)

    def rows(self, size: int) -> Iterator[NDArray[Any]]:
        """`size` rows at a time. A column-major array has no rows in a row: it is read whole."""
        try:
            with _open(self.path, self.member) as stream:
                if self.column_major:
                    array = np.lib.format.read_array(stream, allow_pickle=False)
                    yield from (array[start : start + size] for start in range(0, len(array), size))
                    return
                _HEADERS[np.lib.format.read_magic(stream)](stream)
                for start in range(0, self.shape[0], size):
                    shape = (min(size, self.shape[0] - start), *self.shape[1:])
                    data = stream.read(math.prod(shape) * self.dtype.itemsize)
                    yield np.frombuffer(data, self.dtype).reshape(shape)
        except DAMAGED as error:
            raise DataError(f"{_where(self.path, self.member)}: damaged ({error}); save it again") from error


def members(path: Path) -> dict[str, NpyArray]:
    """The arrays of an .npz by name. Raises DataError."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGED as error:
        raise DataError(f"{path}: not an .npz ({error}); save it with numpy.savez") from error
    return {name.removesuffix(".npy"): NpyArray.find(path, name) for name in names}


def _open(path: Path, member: str | None) -> IO[bytes]:
    # An archive closes its file once the last member that is open is closed.
    if member is None:
        return path.open("rb")
    with zipfile.ZipFile(path) as archive:
        return archive.open(member)


def _size(path: Path, member: str | None) -> int:
    if member is None:
        return path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo(member).file_size


def _where(path: Path, member: str | None) -> str:
    return str(path) if member is None else f"{path} ({member})"
