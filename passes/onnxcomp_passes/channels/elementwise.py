"""Operators that compute each element from those at its place: activations, arithmetic, BatchNormalization.

A constant among the inputs may hold a value for every channel, which is sliced along. The constants that come out are
worked out by onnx's reference implementation, on one element a channel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxcomp.fragment import to_proto
from onnxcomp.model import Model
from onnxcomp_passes.channels.flow import UNKNOWN, Edit, Flow, Mask, Values, channels_of, sliceable, unknown

_FAULTS = (ArithmeticError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, eq=False)
class Elementwise(Flow):
    """The constants it reads, by index of the input, and which axis of each, if any, holds the channels."""

    constants: Mapping[int, NDArray[Any]]
    axes: Mapping[int, int]
    rank: int
    opset: int
    local: bool  # False where an element depends on its neighbours too (InstanceNormalization)

    def values(self, known: Mapping[str, Values]) -> Values:
        """Of channels that are constant in every input."""
        constant = ~np.any([np.isnan(known[tensor.name]) for tensor in self.inputs], axis=0)
        nothing = unknown(len(constant))
        if not self.local or not constant.any():
            return nothing
        shape = (1, -1, *(1,) * (self.rank - 2))
        feeds = {tensor.name: np.nan_to_num(known[tensor.name]).reshape(shape) for tensor in self.inputs}
        try:
            with np.errstate(all="ignore"):
                result = np.asarray(next(iter(self._evaluator().run(None, feeds))), np.float64).reshape(-1)
        except _FAULTS:  # the reference does not know this form of the operator: nothing is known of its output
            return nothing
        return np.where(constant & np.isfinite(result), result, np.nan) if len(result) == len(constant) else nothing

    def edit(self, kept: Mapping[str, Mask], values: Mapping[str, Values]) -> Edit:
        """The kept channels of the constants that hold a value for each."""
        channels = kept[self.output.name]
        return Edit({i: np.compress(channels, self.constants[i], axis) for i, axis in self.axes.items()})

    def _evaluator(self) -> ReferenceEvaluator:
        """The node alone, in double precision."""
        constants = {self.node.inputs[i].name: value for i, value in self.constants.items()}
        wide = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in constants.items()}
        names = dict.fromkeys(tensor.name for tensor in self.inputs)
        graph = helper.make_graph(
            [to_proto(self.node)],
            "",
            [helper.make_tensor_value_info(name, TensorProto.DOUBLE, None) for name in names],
            [helper.make_tensor_value_info(self.output.name, TensorProto.DOUBLE, None)],
            [numpy_helper.from_array(value, name) for name, value in wide.items()],
        )
        return ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)]))


def read_elementwise(model: Model, node: gs.Node) -> Flow | str:
    """Inputs of the output's channels and rank, and constants that broadcast against them."""
    if model.opset < 7 and len(node.inputs) > 1:
        return "broadcasts as operators did before opset 7"
    y = node.outputs[0]
    rank, channels = len(y.shape), channels_of(y)
    inputs: list[gs.Tensor] = []
    constants: dict[int, NDArray[Any]] = {}
    for index, tensor in enumerate(node.inputs):
        value = None if tensor.is_empty() else model.constant(tensor)
        if value is not None:
            constants[index] = value
        elif not tensor.is_empty():
            inputs.append(tensor)
    if not inputs or any(channels_of(t) != channels or len(t.shape) != rank for t in inputs):
        return "its inputs differ in their channels"
    axes = {i: v.ndim - rank + 1 for i, v in constants.items() if v.ndim >= rank - 1}
    axes = {i: axis for i, axis in axes.items() if constants[i].shape[axis] != 1}
    if any(constants[i].ndim > rank or constants[i].shape[axis] != channels for i, axis in axes.items()):
        return "its inputs differ in their channels"
    return _sliced(model, Elementwise(node, tuple(inputs), y, constants, axes, rank, model.opset, True))


def read_quotient(model: Model, node: gs.Node) -> Flow | str:
    """Div by constants: by anything else it could be by zero."""
    divisor = model.constant(node.inputs[1])
    return "does not divide by constants" if divisor is None or not divisor.all() else read_elementwise(model, node)


def read_normalization(model: Model, node: gs.Node) -> Flow | str:
    """BatchNormalization and InstanceNormalization: vectors (C) follow the input."""
    if node.attrs.get("training_mode", 0) or not node.attrs.get("spatial", 1):
        return "is in training mode or has statistics for every pixel"
    x, y = node.inputs[0], node.outputs[0]
    vectors = {i: value for i, t in enumerate(node.inputs) if i and (value := model.constant(t)) is not None}
    if len(vectors) != len(node.inputs) - 1 or any(v.shape != (channels_of(y),) for v in vectors.values()):
        return f"its parameters are not constants of {channels_of(y)} values"
    if channels_of(x) != channels_of(y):
        return UNKNOWN
    axes, local = dict.fromkeys(vectors, 0), node.op == "BatchNormalization"
    return _sliced(model, Elementwise(node, (x,), y, vectors, axes, len(y.shape), model.opset, local))


def _sliced(model: Model, flow: Elementwise) -> Flow | str:
    """`flow`, where the constants that hold a value for each channel may be replaced by parts of them."""
    values = [sliceable(model, flow.node.inputs[index]) for index in flow.axes]
    return next((value for value in values if isinstance(value, str)), flow)
