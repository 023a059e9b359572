"""Where the extension library is, and how ONNX Runtime comes to know it: all that a machine needs to run a network.

This file is also the whole of the package `onnxcomp-runtime` (packaging/runtime), under the name `onnxcomp_runtime`, so
it imports nothing of ours.
"""

import importlib.resources
from pathlib import Path

import onnxruntime as ort

LIBRARY = "libonnxcomp.so"
_REGISTERED = "onnxcomp.registered"  # a mark that lives in the options themselves, so nothing has to be remembered here


def library_path() -> Path:
    """The extension library. Raises FileNotFoundError where it is missing."""
    with importlib.resources.as_file(importlib.resources.files(__package__) / LIBRARY) as path:
        if not path.is_file():
            raise FileNotFoundError(f"the extension library {LIBRARY} is missing from {path.parent}")
        return path


def register(options: ort.SessionOptions) -> ort.SessionOptions:
    """Make `options` know the operators of domain ai.onnxcomp; again on the same options it does nothing.

    Returns `options`. Raises FileNotFoundError where the library is missing, and what ONNX Runtime raises where it
    refuses the library.
    """
    if not _is_registered(options):
        options.register_custom_ops_library(str(library_path()))
        options.add_session_config_entry(_REGISTERED, "1")
    return options


def _is_registered(options: ort.SessionOptions) -> bool:
    try:
        return bool(options.get_session_config_entry(_REGISTERED) == "1")
    except RuntimeError:  # how ORT says that there is no such entry
        return False
