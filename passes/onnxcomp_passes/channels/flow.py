"""What an operator does with channels, the entries along axis 1: one description a node.

A channel of the output may be tied to one of an input (they stay or go together), may read channels of an input without
being tied to them (a dense layer), and may be a constant because what it is made of is.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.convolution import why_unknown
from onnxcomp.model import Model

Mask = NDArray[np.bool_]  # (C): one flag a channel
Values = NDArray[np.float64]  # (C): the value every element of a channel has, NaN where it is not constant
Tie = tuple[str, NDArray[np.int64], str, NDArray[np.int64]]  # two tensors and the channels of each that are tied

UNKNOWN = "the channels of its input or output are not known"


@dataclass(frozen=True)
class Read:
    """Channels of a tensor that must stay, and why."""

    tensor: str
    channels: Mask
    reason: str


@dataclass(frozen=True)
class Edit:
    """What changes at a node: constants by the index of the input, attributes by name."""

    constants: Mapping[int, NDArray[Any]] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Flow(ABC):
    """A node, the inputs whose channels it passes on or reads, and its output."""

    node: gs.Node
    inputs: tuple[gs.Tensor, ...]
    output: gs.Tensor

    def ties(self) -> Iterable[Tie]:
        """By default channel c of every input to channel c of the output."""
        every = np.arange(channels_of(self.output))
        return [(tensor.name, every, self.output.name, every) for tensor in self.inputs]

    def reads(self, kept: Mapping[str, Mask], values: Mapping[str, Values]) -> Iterable[Read]:
        """What the kept channels of the output need of the inputs beyond their ties."""
        return ()

    def evens_out(self, kept: Mapping[str, Mask], align: int) -> Iterable[Read]:
        """What must stay only because the operator needs certain numbers of channels, multiples of `align`."""
        return ()

    @abstractmethod
    def values(self, known: Mapping[str, Values]) -> Values:
        """The output's constants, given those of the inputs."""

    def edit(self, kept: Mapping[str, Mask], values: Mapping[str, Values]) -> Edit:
        """The node on the kept channels alone."""
        return Edit()


def channels_of(tensor: gs.Tensor) -> int:
    """C of a computed tensor (N, C, ...); 0 where that is not known."""
    shape = tensor.shape
    if isinstance(tensor, gs.Constant) or shape is None or len(shape) < 2 or not isinstance(shape[1], int):
        return 0
    return max(shape[1], 0)


def multiple(count: int, align: int) -> int:
    """The least multiple of `align`, but not zero times, that is `count` or more."""
    return max(-(-count // align), 1) * align


def unknown(channels: int) -> Values:
    """Values of which none is constant."""
    return np.full(channels, np.nan)


def sliceable(model: Model, tensor: gs.Tensor) -> NDArray[Any] | str:
    """The value of a constant that a node could read a part of instead, or why it has to stay whole."""
    value = model.constant(tensor)
    if value is None:
        return why_unknown(model, tensor)
    if model.stored_bytes(tensor) is None:
        return f"'{tensor.name}' is a constant expression: a part of it would be stored"
    if value.ndim > 1 and (len(tensor.outputs) != 1 or model.is_captured(tensor)):
        return f"'{tensor.name}' is shared with other nodes"
    if not np.issubdtype(value.dtype, np.floating):
        return f"'{tensor.name}' is not of floating-point numbers"
    if not np.isfinite(value).all():
        return f"'{tensor.name}' holds NaN or Inf"
    return value
