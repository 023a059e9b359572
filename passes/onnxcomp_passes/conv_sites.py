"""Convolutions whose weights could be others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.context import Context
from onnxcomp.convolution import Convolution, is_standard, macs
from onnxcomp.factored import kronecker as emission
from onnxcomp.factored.geometry import Geometry, MapSize
from onnxcomp.factored.prediction import Cost, conv_cost
from onnxcomp.factored.target import Target, with_weight
from onnxcomp.fragment import Fragment
from onnxcomp.model import Model
from onnxcomp.numerics.kronecker import Factors, KroneckerShape
from onnxcomp.pass_api import Declined, Site
from onnxcomp_passes.epilogue import find_epilogue
from onnxcomp_passes.factor_sites import FactorSite, why_not_constants


@dataclass(frozen=True, eq=False)
class ConvSite(FactorSite):
    """A Conv, its numbers, and what ONNX Runtime fuses into it: a BatchNormalization, a residual, an activation."""

    convolution: Convolution
    geometry: Geometry
    map_size: MapSize
    normalisation: tuple[gs.Node, ...]  # BatchNormalization, or nothing

    @property
    def weight(self) -> NDArray[np.floating]:
        return self.convolution.weight

    @property
    def walk(self) -> Geometry:
        return self.geometry

    @property
    def fused(self) -> tuple[gs.Node, ...]:
        return (*self.nodes, *self.normalisation, *self.epilogue.nodes)

    def groups_of(self, weight: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        planar = weight if weight.ndim == 4 else weight[:, :, None]
        return np.split(planar, self.convolution.group)

    def with_bias(self, bias: NDArray[np.floating]) -> "ConvSite":
        return replace(self, convolution=replace(self.convolution, bias=bias))

    def target(self, model: Model) -> Target:
        """The Conv as the fragment to be rebuilt."""
        return Target(Fragment.of(model, self.nodes), self.convolution, self.geometry, self.map_size)

    def dense(self, before: Fragment, weight: NDArray[np.floating], bias: NDArray[np.floating] | None) -> Fragment:
        return with_weight(before, weight, bias)

    def factored(self, model: Model, factors: Sequence[Factors]) -> Fragment:
        return emission.kronecker(self.target(model), factors)

    def why_not(self, shape: KroneckerShape) -> str | None:
        return emission.why_not(shape, self.convolution.group)

    def cost(self, context: Context) -> Cost | str:
        pixels = context.shapes.get(self.nodes[0].inputs[0].name, ())[2:]
        if 0 in (pixels or (0,)):
            return "the size of the map is not known"
        return conv_cost(self.target(context.model), pixels)

    def macs(self, context: Context) -> int | None:
        return macs(self.nodes[0], context.shapes, self.weight.shape)


def conv_site(graph: Model, node: gs.Node, taken: set[int]) -> ConvSite | Declined:
    """A Conv, with what follows it."""
    name = Site((node,)).name
    convolution = Convolution.read(graph, node)
    reason = convolution if isinstance(convolution, str) else _why_not_factored(graph, node, convolution)
    if reason or isinstance(convolution, str):
        return Declined(name, str(reason))
    map_size = _map_size(node.inputs[0], convolution.weight.ndim)
    geometry = Geometry.of(convolution, map_size)
    if isinstance(geometry, str):
        return Declined(name, geometry)
    norm = _normalisation(graph, node)
    epilogue = find_epilogue(graph, norm or node, taken)
    taken.update(id(n) for n in epilogue.nodes)
    return ConvSite((node,), epilogue, convolution, geometry, map_size, (norm,) if norm else ())


def _why_not_factored(graph: Model, node: gs.Node, convolution: Convolution) -> str | None:
    """Why nothing is gained by, or known of, another weight for a Conv; or None."""
    weight = convolution.weight
    if weight.ndim > 4:
        return f"{weight.ndim - 2}-D convolutions are not supported"
    if weight.shape[1] == 1 and convolution.group > 1:
        return "a depthwise convolution has too few weights"
    return why_not_constants(graph, node, weight, convolution.bias_or_zeros)


def _map_size(x: gs.Tensor, rank: int) -> MapSize:
    """The sizes that every input of the model gives `x`, None where they are symbols."""
    if x.shape is None or len(x.shape) != rank:
        return (None,) * (rank - 2)
    return tuple(size if isinstance(size, int) and size > 0 else None for size in x.shape[2:])


def _normalisation(graph: Model, node: gs.Node) -> gs.Node | None:
    """The BatchNormalization at inference that alone reads `node`, with constants that ONNX Runtime can fold."""
    y = node.outputs[0]
    if len(y.outputs) != 1 or graph.is_interface(y) or graph.is_captured(y):
        return None
    norm = y.outputs[0]
    if not is_standard(norm, "BatchNormalization") or norm.inputs[0] is not y or len(norm.outputs) != 1:
        return None
    known = all(graph.constant(tensor) is not None for tensor in norm.inputs[1:])
    return norm if known and not norm.attrs.get("training_mode", 0) else None
