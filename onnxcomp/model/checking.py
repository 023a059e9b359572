"""Is the rewritten model still a sound model with the interface it was loaded with?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import ModelProto

from onnxcomp.errors import ModelError


@dataclass(frozen=True)
class Port:
    """One input or output. `shape` holds numbers, names and None; it is None where the rank is unknown."""

    name: str
    kind: str
    dtype: np.dtype[Any] | None
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        return f"{self.name!r} {self.dtype or self.kind}{list(self.shape or ())}"


@dataclass(frozen=True)
class Interface:
    """What callers see of a model."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @classmethod
    def of(cls, graph: gs.Graph) -> "Interface":
        """The interface of `graph` as it stands."""
        return cls(tuple(map(_port, graph.inputs)), tuple(map(_port, graph.outputs)))


def _port(tensor: gs.Tensor) -> Port:
    shape = None if tensor.shape is None else tuple(tensor.shape)
    return Port(tensor.name, getattr(tensor, "type", "tensor_type"), tensor.dtype, shape)


def check_interface(loaded: Interface, graph: gs.Graph) -> None:
    """Raise ModelError where `graph` has not the interface `loaded`: names, order, types and dimensions."""
    now = Interface.of(graph)
    for what, before, after in (("input", loaded.inputs, now.inputs), ("output", loaded.outputs, now.outputs)):
        if len(before) != len(after):
            raise ModelError(f"the model had {len(before)} {what}s and now has {len(after)}")
        for old, new in zip(before, after, strict=True):
            if old != new:
                raise ModelError(f"{what} {old} has become {new}")


def check_proto(proto: ModelProto) -> None:
    """Raise ModelError where onnx's checker finds fault with `proto`."""
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"not a valid ONNX model: {reason}") from error
