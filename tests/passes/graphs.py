"""Small graphs for the passes' tests, written as ONNX text, and how to run them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from onnxcomp.model import Model
from onnxcomp.pass_api import Declined
from onnxcomp.pass_manager import PassManager, PassResult, Run
from onnxcomp.runtime.session import run, session


def model_of(text: str, weights: Mapping[str, NDArray[Any]] | None = None, opset: int = 17, ir: int = 8) -> Model:
    """A model from the text of its graph; `weights` become initializers."""
    proto = parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}]>\n{text}')
    proto.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in (weights or {}).items())
    onnx.checker.check_model(proto)
    return Model.from_proto(proto)


def sparse(shape: tuple[int, ...], zeros: float = 0.9, seed: int = 0) -> NDArray[np.float32]:
    """A float32 weight with a share of `zeros`."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) * (rng.random(shape) >= zeros)).astype(np.float32)


def rewrite(model: Model, pipeline: str) -> tuple[Run, PassResult]:
    """Run `pipeline` on `model`; also the last pass's result."""
    done = PassManager.parse(pipeline).run(model)
    return done, done.passes[-1]


def ops(model: Model) -> list[str]:
    """Operators in order."""
    return [node.op for node in model.graph.nodes]


def reasons(result: PassResult) -> dict[str, str]:
    """Declined nodes and why."""
    return {d.node: d.reason for d in result.declined if isinstance(d, Declined)}


def assert_equal(before: Model, after: Model, tolerance: float, **feeds: NDArray[Any]) -> None:
    """Same outputs with the library and without, to `tolerance` relative L2."""
    want = run(session(before.to_proto().SerializeToString(), 1, library=False), feeds)
    for library in (True, False):
        got = run(session(after.to_proto().SerializeToString(), 1, library=library), feeds)
        for g, w in zip(got, want, strict=True):
            assert g.shape == w.shape
            assert np.linalg.norm(g - w) <= tolerance * np.linalg.norm(w)
