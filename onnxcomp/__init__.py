"""onnxcomp: make pruned and factored convolutional networks smaller and faster in ONNX Runtime, with proof.

result = onnxcomp.optimize("in.onnx", "out.onnx", data="calibration.npz", min_agreement=98)
session = onnxcomp.session("out.onnx", threads=2)
"""

from pathlib import Path

from onnxcomp.errors import OnnxcompError
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Declined, Pass, PassOptions, Site
from onnxcomp.pass_manager import PassManager
from onnxcomp.pipeline import Result, optimize
from onnxcomp.runtime.session import library_path, register, session
from onnxcomp.version import VERSION as __version__

__all__ = [
    "Candidate",
    "Declined",
    "Model",
    "OnnxcompError",
    "Pass",
    "PassManager",
    "PassOptions",
    "Result",
    "Site",
    "__version__",
    "library_path",
    "load",
    "optimize",
    "register",
    "session",
]


def load(path: str | Path) -> Model:
    """Read a model to run passes on. Raises ModelError."""
    return Model.load(path)
