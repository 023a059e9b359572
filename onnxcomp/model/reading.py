"""A file to a ModelProto, or one line that says why not."""

import stat
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import ModelProto

from onnxcomp.errors import ModelError
from onnxcomp.model.importer import default_opset

MAX_PROTO_BYTES = (1 << 31) - 1  # what protobuf can hold in one message
TOO_LARGE = "the model takes over 2 GB, more than one message can hold; save it to a file instead"


def read_proto(path: Path) -> ModelProto:
    """The model in `path`, external data not read. Raises ModelError where there is none that we can read."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelError("it is a folder; name the .onnx file in it")
        if not stat.S_ISREG(status.st_mode):
            raise ModelError("not a regular file")
        if status.st_size > MAX_PROTO_BYTES:
            raise ModelError("larger than 2 GB, which no ONNX file can be; save the model with external data")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(error.strerror or str(error)) from error
    except ValueError as error:  # a NUL in the name
        raise ModelError(str(error)) from error
    if not content:
        raise ModelError("the file is empty")
    return parsed(content)


def message_bytes(proto: ModelProto) -> int:
    """Bytes of the message. Raises ModelError above 2 GB, which protobuf cannot count."""
    try:
        return int(proto.ByteSize())
    except EncodeError as error:
        raise ModelError(TOO_LARGE) from error


def copy_proto(proto: ModelProto) -> ModelProto:
    """A copy of `proto`. Raises ModelError where it could not be read from a file: too large or too deeply nested."""
    try:
        content = proto.SerializeToString()
    except (EncodeError, ValueError) as error:
        raise ModelError("larger than 2 GB, which no message can be: load the model from a file") from error
    return parsed(content)


def parsed(content: bytes) -> ModelProto:
    """The model whose message that is. Raises ModelError where it is none that we can read."""
    try:
        proto: ModelProto = ModelProto.FromString(content)
    except DecodeError as error:
        raise ModelError("not an ONNX model, or a damaged one") from error
    _check_header(proto)
    return proto


def _check_header(proto: ModelProto) -> None:
    """Raise ModelError unless `proto` is a model of versions that this onnx knows."""
    if not (proto.ir_version and proto.HasField("graph")):
        raise ModelError("not an ONNX model, or a damaged one: it has no graph or no IR version")
    if not proto.opset_import:
        raise ModelError("not an ONNX model we can read: it names no operator set")
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelError(_too_new("IR version", proto.ir_version, onnx.IR_VERSION))
    newest = onnx.defs.onnx_opset_version()
    if default_opset(proto) > newest:
        raise ModelError(_too_new("operator set", default_opset(proto), newest))


def _too_new(what: str, version: int, newest: int) -> str:
    return f"{what} {version} is newer than onnx {onnx.__version__} knows ({newest}); upgrade onnx"
