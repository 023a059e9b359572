"""One convolution as a model of its own, NCHW at both ends: dense in ONNX Runtime against ours.

Both ways of taking the dense time are measured, since ONNX Runtime's blocked Conv wants its input and output
converted:

    session   a whole run of each model, with the conversions around the dense Conv: what a caller waits for
    node      the Conv and the sparse operator alone, from ONNX Runtime's profile: the dense Conv at its best, as it
              runs between others of its kind
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from figures.effort import Effort
from onnxcomp.cost.measure import bound, conv_ms, node_times
from onnxcomp.cost.turns import take_turns
from onnxcomp.formats import basis_conv, functions, sparse_conv, unified, unified_conv
from onnxcomp.formats.unified_body import INPUTS
from onnxcomp.report.text import count
from onnxcomp.runtime.session import run, session
from onnxcomp.verify import Tolerance
from onnxcomp.verify.output import OutputErrors

MAX_ERROR = 1e-5  # relative L2: a sum of 4,608 float32 products, the longest here, rounds to 1e-6 either way
_OPSET = 13


@dataclass(frozen=True)
class ConvLayer:
    """A square Conv on a square map of `side`, padded by half its kernel unless `pad` says otherwise."""

    name: str
    c_in: int
    c_out: int
    side: int
    kernel: int = 3
    stride: int = 1
    group: int = 1
    pad: int | None = None

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(C_out, C_in / group, kh, kw)."""
        return (self.c_out, self.c_in // self.group, self.kernel, self.kernel)

    @property
    def attributes(self) -> dict[str, Any]:
        """Conv's."""
        return {
            "group": self.group,
            "kernel_shape": [self.kernel] * 2,
            "pads": [self.padding] * 4,
            "strides": [self.stride] * 2,
        }

    @property
    def padding(self) -> int:
        """On every side."""
        return self.kernel // 2 if self.pad is None else self.pad

    @property
    def output_side(self) -> int:
        """Of Y's map."""
        return (self.side + 2 * self.padding - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Measured:
    """Milliseconds, and how many times faster the sparse model is: `speedup` by session, `node_speedup` by node."""

    dense_ms: float
    sparse_ms: float
    speedup: float
    dense_node_ms: float
    sparse_node_ms: float
    rel_l2: float
    fault: str | None

    @property
    def node_speedup(self) -> float:
        """The sparse operator against the dense Conv without the conversions around it."""
        return self.dense_node_ms / self.sparse_node_ms


def compare(layer: ConvLayer, weight: NDArray[np.float32], structure: str, threads: int, effort: Effort) -> Measured:
    """Measure `weight` (zeros and all) dense and sparse, in turns, and check the answer against ONNX Runtime's.

    Raises UsageError where the stored format does not have the structure.
    """
    return compare_models(layer, [dense_model(layer, weight), sparse_model(layer, weight, structure)], threads, effort)


def compare_models(layer: ConvLayer, models: Sequence[bytes], threads: int, effort: Effort) -> Measured:
    """Measure the dense and the sparse model of a layer in turns, and check the answer against ONNX Runtime's."""
    x = np.random.default_rng(1).standard_normal((1, layer.c_in, layer.side, layer.side), np.float32)
    feed = {"X": x}
    sessions = [session(model, threads, alone=False) for model in models]
    output = OutputErrors("Y", Tolerance(MAX_ERROR))
    output.add(*(run(loaded, feed, layer.name)[0] for loaded in sessions))
    answer = output.result()
    calls = [bound(loaded, feed, layer.name) for loaded in sessions]
    dense, sparse = take_turns(calls, effort.seconds / 2, effort.min_rounds)
    nodes = node_times(models, feed, threads, effort.min_rounds, effort.seconds / 2)
    return Measured(
        dense_ms=dense.median_ms,
        sparse_ms=sparse.median_ms,
        speedup=sparse.speedup(dense),
        dense_node_ms=conv_ms(nodes[0]),
        sparse_node_ms=sum(nodes[1].values()),
        rel_l2=answer.rel_l2 if answer.rel_l2 is not None else float("nan"),
        fault=None if answer.passed else f"{layer.name}, {count(threads, 'thread')}: {answer.reason}",
    )


def dense_model(layer: ConvLayer, weight: NDArray[np.float32]) -> bytes:
    """One Conv, X -> Y, with a bias of zeros, which keeps ONNX Runtime on its fast path."""
    node = helper.make_node("Conv", ["X", "W", "B"], ["Y"], **layer.attributes)
    return _model(layer, node, {"W": weight})


def sparse_model(layer: ConvLayer, weight: NDArray[np.float32], structure: str) -> bytes:
    """The same as one SparseConv, stored in `structure`. Raises UsageError for one that the format does not have."""
    plain, stored = sparse_conv.Epilogue(), sparse_conv.encode(weight, structure)
    inputs = ["X", "mask", "values", "B"]
    node = sparse_conv.node(plain, inputs, "Y", weight.shape, structure=structure, **layer.attributes)
    body = sparse_conv.function(plain, _OPSET, structure)
    return _model(layer, node, {"mask": stored.mask, "values": stored.values}, body)


def basis_model(layer: ConvLayer, coefficients: NDArray[np.float32], bases: NDArray[np.float32]) -> bytes:
    """The layer as one BasisConv: coefficients (C_out, C_in / group, d) of bases (d, kh, kw)."""
    plain, stored = sparse_conv.Epilogue(), basis_conv.encode(coefficients)
    constants = {"bases": bases, "mask": stored.mask, "values": stored.values}
    node = basis_conv.node(plain, ["X", *constants, "B"], "Y", coefficients.shape, **layer.attributes)
    return _model(layer, node, constants, basis_conv.function(plain, _OPSET))


def unified_model(layer: ConvLayer, weight: NDArray[np.float32], block: unified.Block) -> bytes:
    """The layer as one UnifiedConv, in blocks of one magnitude each, its zero blocks and others aside."""
    plain, stored = sparse_conv.Epilogue(), unified.encode(weight, block)
    node = unified_conv.node(plain, ["X", *INPUTS, "B"], "Y", weight.shape, stored, **layer.attributes)
    constants = {name: getattr(stored, name) for name in INPUTS}
    return _model(layer, node, constants, unified_conv.function(plain, _OPSET))


def he_weight(layer: ConvLayer, zeros: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """Normal values that keep the input's variance, zero where `zeros` says."""
    weight = rng.standard_normal(layer.weight_shape, np.float32)
    weight *= np.float32((2 / max(prod(layer.weight_shape[1:]) * (1 - zeros.mean()), 1)) ** 0.5)
    weight[zeros] = 0
    return weight


def _model(layer: ConvLayer, node: NodeProto, constants: Mapping[str, NDArray[Any]], *bodies: FunctionProto) -> bytes:
    arrays = {**constants, "B": np.zeros(layer.c_out, np.float32)}
    shapes = {
        "X": [1, layer.c_in, layer.side, layer.side],
        "Y": [1, layer.c_out, layer.output_side, layer.output_side],
    }
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph([node], "layer", [x], [y], initializers)
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(functions.DOMAIN, functions.DOMAIN_VERSION)]
    model = helper.make_model(graph, opset_imports=opsets, functions=bodies, ir_version=functions.MIN_IR)
    return bytes(model.SerializeToString())
