"""Models of one SparseGemm or SparseMatMul node, what they compute, and what float32 rounding allows."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxcomp.formats import bitmap, sparse_gemm
from onnxcomp.formats.functions import DOMAIN, DOMAIN_VERSION
from onnxcomp.runtime import session as runtime

OPSET = 17
EPSILON = float(np.finfo(np.float32).eps)

Array = NDArray[np.float32]


@dataclass
class Case:
    """One layer with its data. `weight` is (N, K), `x` is (..., K)."""

    weight: Array
    x: Array
    bias: Array
    form: sparse_gemm.Form = field(default_factory=sparse_gemm.Form)
    attributes: dict[str, Any] = field(default_factory=dict)
    x_shape: list[int | str] | None = None  # as declared; `x`'s own where it is None


def random_case(outputs: int, x_shape: tuple[int, ...], density: float = 0.3, seed: int = 0, op: str = "") -> Case:
    """A case with normally distributed data; a matrix multiplies as SparseGemm where `op` does not say otherwise."""
    rng = np.random.default_rng(seed)
    shape = (outputs, x_shape[-1])
    return Case(
        (rng.standard_normal(shape) * (rng.random(shape) < density)).astype(np.float32),
        rng.standard_normal(x_shape).astype(np.float32),
        rng.standard_normal(outputs).astype(np.float32),
        sparse_gemm.FORMS[op or ("SparseGemm" if len(x_shape) == 2 else "SparseMatMul")],
    )


def gemm_model(case: Case) -> ModelProto:
    """The case as a node with its function body."""
    stored = bitmap.encode(case.weight)
    outputs, columns = case.weight.shape
    node = sparse_gemm.node(
        case.form, ["X", "mask", "values", "B"], "Y", (outputs, columns), "the_node", **case.attributes
    )
    constants = {"mask": stored.mask, "values": stored.values, "B": case.bias}
    graph = helper.make_graph(
        [node],
        "case",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, case.x_shape or list(case.x.shape))],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, DOMAIN_VERSION)]
    return helper.make_model(
        graph, opset_imports=opsets, functions=[sparse_gemm.function(case.form, OPSET)], ir_version=8
    )


def run(model: ModelProto, x: Array, library: bool = True) -> Array:
    """The model's one output."""
    session = runtime.session(model.SerializeToString(), threads=2, library=library)
    output: Array = runtime.run(session, {"X": x})[0]
    return output


def expected(case: Case) -> NDArray[np.float64]:
    """X W^T + B in double precision, activation aside."""
    return case.x.astype(np.float64) @ case.weight.T.astype(np.float64) + case.bias


def tolerance(case: Case) -> NDArray[np.float64]:
    """The largest error of a float32 sum of the case's products, in whatever order, for each output.

    Each of K + 1 additions rounds by at most epsilon / 2 of sum |w x| + |b|.
    """
    magnitude = np.abs(case.x).astype(np.float64) @ np.abs(case.weight.T).astype(np.float64) + np.abs(case.bias)
    return EPSILON / 2 * (case.weight.shape[1] + 1) * magnitude + 1e-30
