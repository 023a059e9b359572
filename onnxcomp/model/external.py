"""External data: spans of files beside the model, read lazily and never from outside the model's folder."""

import os
import stat
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onnx import TensorProto

from onnxcomp.errors import ModelError

_CHUNK_BYTES = 4 << 20


def is_external(tensor: TensorProto) -> bool:
    """Whether the payload of `tensor` is in a file of its own."""
    return tensor.data_location == TensorProto.EXTERNAL


class DataFile:
    """A file of weights as it was when the model was loaded. Raises ModelError once it is another file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"external data {str(path)!r} is not a regular file")
        self.size_bytes = status.st_size
        self._identity = _identity(status)
        self._held: int | None = None

    def hold(self) -> None:
        """Keep the file readable although its name is about to be taken or removed."""
        if self._held is None:
            self._held = self._open()
            weakref.finalize(self, os.close, self._held)

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """The bytes from `offset` on, a few MiB at a time."""
        descriptor = self._open() if self._held is None else self._held
        try:
            while length:
                chunk = os.pread(descriptor, min(length, _CHUNK_BYTES), offset)
                if not chunk:
                    raise ModelError(f"external data {str(self.path)!r} ends before byte {offset + length}")
                yield chunk
                offset += len(chunk)
                length -= len(chunk)
        except OSError as error:
            raise ModelError(f"cannot read external data {str(self.path)!r}: {error.strerror}") from error
        finally:
            if descriptor != self._held:
                os.close(descriptor)

    def _open(self) -> int:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise ModelError(f"cannot read external data {str(self.path)!r}: {error.strerror}") from error
        if _identity(os.fstat(descriptor)) != self._identity:
            os.close(descriptor)
            raise ModelError(f"external data {str(self.path)!r} was changed after the model was loaded; load it again")
        return descriptor


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class Span:
    """`length` bytes of `file` from `offset` on."""

    file: DataFile
    offset: int
    length: int

    def chunks(self) -> Iterator[bytes]:
        """The bytes, a few MiB at a time."""
        return self.file.chunks(self.offset, self.length)

    def read(self) -> bytearray:
        """The bytes."""
        buffer = bytearray(self.length)
        position = 0
        for chunk in self.chunks():
            buffer[position : position + len(chunk)] = chunk
            position += len(chunk)
        return buffer


class DataFolder:
    """The folder a model's external data lies in; None where the model has no place on disk."""

    def __init__(self, path: Path | None) -> None:
        self._path = None if path is None else path.resolve()
        self._files: dict[str, DataFile] = {}

    @property
    def files(self) -> list[DataFile]:
        """The files used so far."""
        return list(self._files.values())

    def span(self, tensor: TensorProto, expected_bytes: int) -> Span:
        """Where the payload of `tensor`, `expected_bytes` long, lies.

        Raises ModelError where the file is missing, too short or outside the folder, or the entries are wrong.
        """
        where = f"tensor {tensor.name!r}"
        entries = {entry.key: entry.value for entry in tensor.external_data}
        offset = _number(entries.get("offset", "0"), f"{where}: external data offset")
        length = _number(entries.get("length", str(expected_bytes)), f"{where}: external data length")
        if length != expected_bytes:
            raise ModelError(
                f"{where}: shape {list(tensor.dims)} needs {expected_bytes} bytes, its external data has {length}"
            )
        file = self._file(entries.get("location", ""), where)
        if offset + length > file.size_bytes:
            raise ModelError(
                f"{where}: external data {str(file.path)!r} is truncated: {offset + length} bytes needed, "
                f"it has {file.size_bytes}"
            )
        return Span(file, offset, length)

    def _file(self, location: str, where: str) -> DataFile:
        if location not in self._files:
            try:
                self._files[location] = DataFile(self._resolve(location, where))
            except OSError as error:
                raise ModelError(f"{where}: external data {location[:80]!r}: {error.strerror}") from error
        return self._files[location]

    def _resolve(self, location: str, where: str) -> Path:
        if self._path is None:
            raise ModelError(f"{where} is external data ({location!r}): load the model from its file")
        if not location or "\0" in location:
            raise ModelError(f"{where}: external data without a proper location")
        path = (self._path / location).resolve()
        if not path.is_relative_to(self._path):
            raise ModelError(
                f"{where}: external data {location!r} is outside the model's folder {str(self._path)!r}; copy it there"
            )
        if not path.exists():
            raise ModelError(f"{where}: external data {location!r} is missing from {str(self._path)!r}")
        return path


def _number(text: str, what: str) -> int:
    # 20 digits hold any 64-bit number; int() of a longer text could take long.
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise ModelError(f"{what} is {text[:40]!r}, not a number of bytes")
    return int(text)
