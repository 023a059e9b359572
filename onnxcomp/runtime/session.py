"""Sessions of ONNX Runtime's CPU provider, with or without the extension library."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import psutil
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native

from onnxcomp.errors import ModelError, OnnxcompError
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.runtime import loader

Feed = Mapping[str, NDArray[Any]]
"""One call's inputs by name."""

_FATAL = 4  # ORT's errors arrive as exceptions; logged as well they would be said twice

RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    *(e for e in vars(native).values() if isinstance(e, type) and issubclass(e, Exception)),
    RuntimeError,  # C++ exceptions without a status
    ValueError,  # raised by the Python wrapper, for a missing input
)
"""Everything ONNX Runtime raises; its own classes share no base."""


def library_path() -> Path:
    """The extension library. Raises OnnxcompError, telling how to build it, where it is missing."""
    try:
        return loader.library_path()
    except FileNotFoundError as error:
        raise OnnxcompError(
            f"{error}: reinstall onnxcomp, or build it in a checkout with `pip install -e . --no-build-isolation`"
        ) from error


def register(options: ort.SessionOptions) -> ort.SessionOptions:
    """Make `options` know the operators of domain ai.onnxcomp; again on the same options it does nothing.

    Returns `options`. Raises OnnxcompError where the library is missing or refuses this ONNX Runtime.
    """
    path = library_path()
    try:
        return loader.register(options)
    except RUNTIME_ERRORS as error:
        raise OnnxcompError(f"{path}: ONNX Runtime {ort.__version__} cannot use it: {reason(error)}") from error


def session(
    model: str | Path | bytes,
    threads: int | None = None,
    library: bool = True,
    *,
    profile: Path | None = None,
    alone: bool = True,
) -> ort.InferenceSession:
    """A session on the CPU provider at the default optimisation level.

    `threads`: of one operator; None is `default_threads()`. `library`: register the extension library, but for a model
    in memory that has no operator of it. `profile`: the prefix of a profile that ORT writes. `alone=False` stops ORT's
    idle threads from spinning after a run, for sessions that take turns and would otherwise steal each other's cores.
    Raises ModelError, one line, where ORT refuses.
    """
    options = ort.SessionOptions()
    options.log_severity_level = _FATAL
    options.intra_op_num_threads = threads or default_threads()
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if not alone:
        options.add_session_config_entry("session.force_spinning_stop", "1")
    if library and not (isinstance(model, bytes) and DOMAIN.encode() not in model):
        register(options)  # its 84 operators make a session of a small model take ten times as long to create
    if not isinstance(model, bytes) and not Path(model).is_file():
        raise ModelError(f"{model}: no such file; give the path of an ONNX model")
    try:
        source = model if isinstance(model, bytes) else str(model)
        return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        raise ModelError(f"{name_of(model)}: ONNX Runtime {ort.__version__} cannot load it: {reason(error)}") from error


def run(session: ort.InferenceSession, feed: Feed, name: str = "model") -> list[Any]:
    """All outputs. Raises ModelError, one line, where the model fails on `feed`; `name` is what messages call it."""
    quiet = ort.RunOptions()
    quiet.log_severity_level = _FATAL
    try:
        return list(session.run(None, dict(feed), quiet))
    except RUNTIME_ERRORS as error:
        raise ModelError(f"{name}: fails on inputs {_shapes(feed)}: {reason(error)}") from error


def runs(session: ort.InferenceSession, feed: Feed) -> bool:
    """Whether the model accepts `feed` and runs to its end."""
    try:
        run(session, feed)
    except ModelError:
        return False
    return True


def default_threads() -> int:
    """Physical cores that this process may use."""
    allowed = len(os.sched_getaffinity(0))
    return min(psutil.cpu_count(logical=False) or allowed, allowed)


def name_of(model: str | Path | bytes) -> str:
    """What messages call a model."""
    return "the model in memory" if isinstance(model, bytes) else str(model)


def reason(error: Exception | str) -> str:
    """ORT's message on one line, without status codes and places in its sources."""
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"^Load model from .*? failed: ?", "", text)
    return re.sub(r"/\S+\.(cc|h):\d+ (?:\S+::\S+\(.*?\) )?", "", text)


def _shapes(feed: Feed) -> str:
    return ", ".join(f"{name} {np.dtype(array.dtype).name}{list(array.shape)}" for name, array in feed.items())
