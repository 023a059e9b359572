"""Models of one SparseConv node, their dense counterparts, and what float32 rounding allows between the two."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxcomp.formats import sparse_conv
from onnxcomp.formats.functions import DOMAIN, DOMAIN_VERSION
from onnxcomp.runtime import session as runtime

OPSET = 17
EPSILON = float(np.finfo(np.float32).eps)

Array = NDArray[np.float32]


@dataclass
class Case:
    """One convolution with its data. `weight` is (C_out, C_in / group, (kh,) kw), `x` is (N, C_in, (H,) W)."""

    weight: Array
    x: Array
    bias: Array
    epilogue: sparse_conv.Epilogue = field(default_factory=sparse_conv.Epilogue)
    attributes: dict[str, Any] = field(default_factory=dict)
    x_shape: list[int | str] | None = None  # as declared; `x`'s own where it is None
    y_shape: list[int | str] | None = None
    z: Array | None = None
    structure: str = sparse_conv.UNSTRUCTURED

    @property
    def feed(self) -> dict[str, Array]:
        """The inputs by name."""
        return {"X": self.x} if self.z is None else {"X": self.x, "Z": self.z}


def random_case(
    weight_shape: tuple[int, ...], x_shape: tuple[int, ...], density: float = 0.3, seed: int = 0, **attributes: Any
) -> Case:
    """A case with normally distributed data and no epilogue."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal(weight_shape) * (rng.random(weight_shape) < density)
    return Case(
        weight.astype(np.float32),
        rng.standard_normal(x_shape).astype(np.float32),
        rng.standard_normal(weight_shape[0]).astype(np.float32),
        attributes=attributes,
    )


def structured_case(
    structure: str,
    weight_shape: tuple[int, ...],
    x_shape: tuple[int, ...],
    density: float = 0.3,
    seed: int = 0,
    **attributes: Any,
) -> Case:
    """A case whose zeros have `structure`: a share `density` of blocks, or n of each window, is kept."""
    case = random_case(weight_shape, x_shape, 1, seed, **attributes)
    rng = np.random.default_rng(seed + 1)
    height = sparse_conv.BLOCK_HEIGHTS.get(structure)
    if height is not None:
        kept = rng.random((weight_shape[0] // height, *weight_shape[1:])) < density
        case.weight[~kept.repeat(height, axis=0)] = 0
    else:
        most = sparse_conv.kept_of_window(structure) or 0
        for first in range(0, weight_shape[1], sparse_conv.WINDOW):
            window = case.weight[:, first : first + sparse_conv.WINDOW]
            window[rng.random(window.shape).argsort(axis=1).argsort(axis=1) >= most] = 0
    case.structure = structure
    return case


def sparse_model(case: Case) -> ModelProto:
    """The case as a node of the operator its structure is stored in, with its function body."""
    stored = sparse_conv.encode(case.weight, case.structure)
    initializers = {"mask": stored.mask, "values": stored.values, "B": case.bias}
    node = sparse_conv.node(
        case.epilogue,
        ["X", "mask", "values", "B", *(["Z"] if case.z is not None else [])],
        "Y",
        case.weight.shape,
        name="the_node",
        structure=case.structure,
        **case.attributes,
    )
    model = single_node_model(case, [node], initializers)
    model.functions.append(sparse_conv.function(case.epilogue, OPSET, case.structure))
    model.opset_import.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))
    return model


def dense_model(case: Case) -> ModelProto:
    """The case as ONNX Runtime's own Conv, epilogue aside."""
    return _dense_model(case, case.weight, case.bias)


def dense_output(case: Case) -> Array:
    """What `dense_model` makes of the case."""
    return _convolve(case, case.x, case.weight, case.bias)


def tolerance(case: Case) -> Array:
    """The largest difference between two float32 sums of the case's products, in whatever order, for each output.

    Each of k + 2 additions rounds by at most epsilon / 2 of sum |w x| + |b|, in each of the two sums.
    """
    return rounding(case, int(np.prod(case.weight.shape[1:])) + 2)


def rounding(case: Case, additions: int) -> Array:
    """What `additions` in each of two sums round, each by at most epsilon / 2 of sum |w x| + |b|."""
    return EPSILON * additions * _convolve(case, np.abs(case.x), np.abs(case.weight), np.abs(case.bias))


def run(model: ModelProto, feed: dict[str, Array], library: bool = True) -> Array:
    """The model's one output."""
    session = runtime.session(model.SerializeToString(), threads=2, library=library)
    output: Array = runtime.run(session, feed)[0]
    return output


def _convolve(case: Case, x: Array, weight: Array, bias: Array) -> Array:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    model = _dense_model(case, weight, bias)
    output: Array = ort.InferenceSession(model.SerializeToString(), options).run(None, {"X": x})[0]
    return output


def _dense_model(case: Case, weight: Array, bias: Array) -> ModelProto:
    node = helper.make_node("Conv", ["X", "W", "B"], ["Y"], **case.attributes)
    return single_node_model(case, [node], {"W": weight, "B": bias})


def single_node_model(case: Case, nodes: list[onnx.NodeProto], initializers: dict[str, NDArray[Any]]) -> ModelProto:
    """`nodes`, from the case's X and Z to Y."""

    def value(name: str, shape: list[int | str] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [value("X", case.x_shape or list(case.x.shape))]
    if any("Z" in node.input for node in nodes) and case.z is not None:
        inputs.append(value("Z", list(case.z.shape)))
    tensors = [numpy_helper.from_array(array, name) for name, array in initializers.items()]
    graph = helper.make_graph(nodes, "case", inputs, [value("Y", case.y_shape)], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
