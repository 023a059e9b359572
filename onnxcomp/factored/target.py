"""The Conv that is to be factored, and the fragment that is built to take its place."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from onnxcomp.convolution import Convolution
from onnxcomp.factored.geometry import Geometry, MapSize
from onnxcomp.fragment import Fragment, unique


@dataclass(frozen=True, eq=False)
class Target:
    """A Conv with its numbers."""

    fragment: Fragment  # the Conv alone
    convolution: Convolution
    geometry: Geometry
    map_size: MapSize  # of its input

    @property
    def kernel(self) -> tuple[int, ...]:
        """(kh, kw), or (k) in one dimension."""
        return self.convolution.weight.shape[2:]


def with_weight(fragment: Fragment, weight: NDArray[np.floating], bias: NDArray[np.floating] | None = None) -> Fragment:
    """`fragment`, which begins with a Conv, with other numbers in its weight, in whichever shape of that size.

    And in its bias, where one is given; a Conv without a bias gets it.
    """
    conv, *others = fragment.nodes
    name = conv.input[1]
    constants = {**fragment.constants, name: weight.reshape(fragment.constants[name].shape).astype(np.float32)}
    if bias is not None:
        biased = NodeProto()
        biased.CopyFrom(conv)
        place = conv.input[2] if len(conv.input) > 2 and conv.input[2] else f"{name}_bias"
        place = place if place in constants else unique(place, {*constants, *fragment.inputs})
        biased.input[:] = [conv.input[0], name, place]
        constants[place] = bias.astype(np.float32)
        conv = biased
    return Fragment((conv, *others), constants, fragment.inputs, fragment.outputs)


class Steps:
    """The nodes that will stand for a layer, appended one by one. Values become float32 or int64.

    `before` is the layer: its first node reads X, then W.
    """

    def __init__(self, before: Fragment) -> None:
        self._before, self._layer = before, before.nodes[0]
        self.x = self._layer.input[0]
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, NDArray[Any]] = {}
        produced = {name for node in before.nodes for name in node.output}
        self._taken = {*before.constants, *before.inputs, *produced}

    def constant(self, role: str, value: NDArray[Any]) -> str:
        """A new constant; returns its name."""
        name = unique(f"{self._layer.input[1]}_{role}", self._taken)
        stored = np.float32 if np.issubdtype(value.dtype, np.floating) else np.int64
        self._constants[name] = np.ascontiguousarray(value, stored)
        return name

    def add(self, role: str, op: str, inputs: list[str], **attributes: Any) -> str:
        """A new node of one output; returns that output's name."""
        output = unique(f"{self._layer.output[0]}_{role}", self._taken)
        name = f"{self._layer.name}_{role}" if self._layer.name else ""
        self._nodes.append(helper.make_node(op, inputs, [output], name, **attributes))
        return output

    def conv(
        self,
        role: str,
        x: str,
        weight: NDArray[np.floating],
        geometry: Geometry | None = None,
        *,
        group: int = 1,
        bias: NDArray[np.floating] | None = None,
    ) -> str:
        """A Conv of `weight` (C_out, C_in / group, k...); pixel by pixel where no `geometry` is given.

        It always has a bias: without one ONNX Runtime leaves its fast path (docs/decisions.md).
        """
        kernel = weight.shape[2:]
        values = np.zeros(len(weight), np.float32) if bias is None else bias
        inputs = [x, self.constant(role, weight), self.constant(f"{role}_bias", values)]
        ones = (1,) * len(kernel)
        walk = geometry or Geometry(ones, ((0, 0),) * len(kernel), ones)
        return self.add(role, "Conv", inputs, **walk.attributes(kernel, group))

    def fragment(self) -> Fragment:
        """All nodes, the last of which gives what the layer gave."""
        before, last = self._before, self._nodes[-1]
        last.output[0], last.name = before.outputs[0], self._layer.name
        return Fragment(tuple(self._nodes), self._constants, before.inputs, before.outputs)
