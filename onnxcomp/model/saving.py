"""A model to disk, whole or not at all: the model file, and beside it one file of external data where it has such.

The data file is named after its content, OUT.onnx -> OUT.onnx.<16 hex digits>.data, so the model that was there before
stays valid with its own data file until the very moment that OUT.onnx is replaced, and the same model always gives the
same bytes.
"""

import contextlib
import errno
import hashlib
import itertools
import os
import re
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from google.protobuf.message import EncodeError
from numpy.typing import NDArray
from onnx import TensorProto

from onnxcomp.errors import ModelError
from onnxcomp.model import protos
from onnxcomp.model.exporter import Export, payload_bytes
from onnxcomp.model.external import DataFolder, Span, is_external
from onnxcomp.model.reading import read_proto
from onnxcomp.model.values import packed

_ALIGNMENT_BYTES = 4096  # a page: the runtime maps tensors straight from the file
# What placing a tensor in a new file says anew, or makes untrue.
_RELOCATED = ("location", "offset", "length", "checksum", "basepath")


def save(export: Export, path: Path, folder: DataFolder, source: Path | None) -> None:
    """Write the model to `path`. `folder` is where its data is read from, `source` the file it was loaded from.

    Raises ModelError where it cannot be written; then what was at `path` before is as it was.
    """
    try:
        target = _target(path)
        with _Files(target) as files:
            data = _write_data(export, files) if export.payloads else None
            files.write(_serialized(export), target)
            stale = _stale(target, data, folder, source)
            _keep_readable(folder, {*stale, data})
            files.publish()
    except OSError as error:
        hint = "free some space or choose another folder" if error.errno == errno.ENOSPC else "choose another place"
        raise ModelError(f"cannot write {path}: {error.strerror or error}; {hint} (nothing was changed)") from error
    for old in stale:
        with contextlib.suppress(OSError):  # the model is saved; a file too many does not make that untrue
            old.unlink()


def data_bytes(export: Export) -> int:
    """Bytes of the data file that `save` would write."""
    end = 0
    for payload in dict.fromkeys(_key(payload) for _, payload in export.payloads):
        end = _aligned(end) + (payload.length if isinstance(payload, Span) else payload[1])
    return end


def _target(path: Path) -> Path:
    """The file that `path` names, itself where it is a link. Raises ModelError where no file can be there."""
    try:
        target = path.resolve()
    except (ValueError, RuntimeError) as error:  # a NUL in the name, links in a circle
        raise ModelError(f"cannot write {str(path)!r}: {error}") from error
    if not target.parent.is_dir():
        raise ModelError(f"cannot write {path}: there is no folder {str(target.parent)!r}; create it first")
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        raise ModelError(f"cannot write {path}: it is not a regular file; name a file")
    return target


def _serialized(export: Export) -> bytes:
    try:
        content: bytes = export.proto.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise ModelError("the model takes over 2 GB without its external data, more than an ONNX file can") from error
    return content


class _Files:
    """Files in the making, in the folder of `target`: under their names only all together, gone if that fails."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self._mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        self._pending: list[tuple[Path, Path]] = []
        self._scratch: list[Path] = []

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, *_: object) -> None:
        for path in self._scratch:
            path.unlink(missing_ok=True)

    def create(self) -> BinaryIO:
        """A new file that has no name yet; `name` gives it one."""
        path = self.target.parent / f".onnxcomp-{secrets.token_hex(8)}.tmp"
        file = path.open("xb")
        self._scratch.append(path)
        if self._mode is not None:
            path.chmod(self._mode)
        return file

    def name(self, file: BinaryIO, final: Path) -> None:
        """Force `file` to the disk; `publish` will call it `final`."""
        file.flush()
        os.fsync(file.fileno())
        self._pending.append((Path(file.name), final))

    def write(self, content: bytes, final: Path) -> None:
        """A file with that content."""
        with self.create() as file:
            file.write(content)
            self.name(file, final)

    def publish(self) -> None:
        """Give the files their names, in the order in which they were named."""
        for path, final in self._pending:
            is_new = not final.exists()
            path.replace(final)
            if is_new:
                self._scratch.append(final)
        self._scratch.clear()
        descriptor = os.open(self.target.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES


def _key(payload: Span | NDArray[Any]) -> Span | tuple[int, int]:
    """What payloads that can share their bytes in the file have in common: tied weights are stored once."""
    return payload if isinstance(payload, Span) else (id(payload), payload_bytes(payload))


def _write_data(export: Export, files: _Files) -> Path:
    """Write all payloads to one new file, point their tensors at it, and return the name it will have."""
    digest = hashlib.sha256()
    places: dict[Any, int] = {}
    position = 0
    with files.create() as file:
        for _, payload in export.payloads:
            key = _key(payload)
            if key in places:
                continue
            padding = bytes(_aligned(position) - position)
            places[key] = position + len(padding)
            for chunk in itertools.chain([padding], _chunks(payload)):
                file.write(chunk)
                digest.update(chunk)
                position += len(chunk)
        final = files.target.with_name(f"{files.target.name}.{digest.hexdigest()[:16]}.data")
        files.name(file, final)
    for tensor, payload in export.payloads:
        _place(tensor, final.name, places[_key(payload)], payload_bytes(payload))
    return final


def _chunks(payload: Span | NDArray[Any]) -> Iterable[bytes | memoryview]:
    return payload.chunks() if isinstance(payload, Span) else (packed(payload),)


def _place(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Say that the payload of `tensor` is there. Entries of other keys stay."""
    others = [entry for entry in tensor.external_data if entry.key not in _RELOCATED]
    tensor.ClearField("external_data")
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    tensor.external_data.extend(others)


def _stale(target: Path, data: Path | None, folder: DataFolder, source: Path | None) -> list[Path]:
    """Data files that bear the name of the model now at `target`, are read by it and will not be any more.

    Not those of the model being saved, unless it replaces itself: it may have been given a confusing name.
    """
    pattern = re.compile(re.escape(target.name) + r"(\.[0-9a-f]{16})?\.data")
    named = {path for path in target.parent.iterdir() if pattern.fullmatch(path.name) and not path.is_symlink()}
    if source is None or source.resolve() != target:
        named -= {file.path for file in folder.files}
    named -= {data}
    if not named or not target.exists():
        return []
    try:
        old = read_proto(target)
    except ModelError:  # what is there is no model, so no data file is known to be its own
        return []
    read = {
        entry.value
        for tensor in filter(is_external, protos.tensors_of_model(old))
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sorted(path for path in named if path.name in read)


def _keep_readable(folder: DataFolder, paths: set[Path | None]) -> None:
    """Let this model and its clones go on reading files that are about to be replaced."""
    for file in folder.files:
        if file.path in paths:
            with contextlib.suppress(ModelError):  # it is another file already: nobody can read it any more
                file.hold()
