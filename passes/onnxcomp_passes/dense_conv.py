"""The dense convolutions of a graph that something else could stand in for, and what ONNX Runtime fuses into them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnxcomp.context import Context
from onnxcomp.convolution import Convolution, is_standard
from onnxcomp.factored.geometry import Geometry, MapSize
from onnxcomp.factored.target import Target
from onnxcomp.fragment import Fragment
from onnxcomp.model import Model
from onnxcomp.numerics.kronecker import KroneckerShape
from onnxcomp.pass_api import Declined, Site
from onnxcomp_passes.epilogue import Epilogue, find_epilogue


@dataclass(frozen=True, eq=False)
class DenseConv(Site):
    """A Conv, its numbers, and what ONNX Runtime fuses into it: a BatchNormalization, a residual, an activation.

    Replaced, a Conv may lose what is fused into it: candidates are timed with all of that, and replace the Conv alone.
    """

    convolution: Convolution
    geometry: Geometry
    map_size: MapSize
    normalisation: tuple[gs.Node, ...]  # BatchNormalization, or nothing
    epilogue: Epilogue
    exact: tuple[tuple[KroneckerShape, int], ...] = ()  # shapes and ranks known to be all of the weight

    @property
    def fused(self) -> tuple[gs.Node, ...]:
        """The Conv and all that is fused into it."""
        return (*self.nodes, *self.normalisation, *self.epilogue.nodes)

    def with_bias(self, bias: NDArray[np.floating]) -> "DenseConv":
        """The site of a Conv with another bias (C_out)."""
        return replace(self, convolution=replace(self.convolution, bias=bias))

    def target(self, model: Model) -> Target:
        """The Conv as the fragment to be rebuilt."""
        return Target(Fragment.of(model, self.nodes), self.convolution, self.geometry, self.map_size)

    @property
    def groups(self) -> list[NDArray[np.floating]]:
        """The weight of each group, kernels in one dimension as (1, k): (C_out / group, C_in / group, kh, kw)."""
        return self.groups_of(self.convolution.weight)

    def groups_of(self, weight: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        """The same of another weight of that shape."""
        planar = weight if weight.ndim == 4 else weight[:, :, None]
        return np.split(planar, self.convolution.group)


def dense_convs(graph: Model) -> Iterable[DenseConv | Declined]:
    """Every Conv of `graph`, with what follows it."""
    graph.infer_shapes()
    taken: set[int] = set()
    for node in list(graph.graph.nodes):
        if is_standard(node, "Conv"):
            yield _site(graph, node, taken)


def _site(graph: Model, node: gs.Node, taken: set[int]) -> DenseConv | Declined:
    name = Site((node,)).name
    convolution = Convolution.read(graph, node)
    reason = convolution if isinstance(convolution, str) else why_not_replaced(convolution)
    if reason is None and graph.stored_bytes(node.inputs[1]) is None:
        reason = f"'{node.inputs[1].name}' is a constant expression: numbers would be stored in its place"
    if reason or isinstance(convolution, str):
        return Declined(name, str(reason))
    map_size = _map_size(node.inputs[0], convolution.weight.ndim)
    geometry = Geometry.of(convolution, map_size)
    if isinstance(geometry, str):
        return Declined(name, geometry)
    norm = _normalisation(graph, node)
    epilogue = find_epilogue(graph, norm or node, taken)
    taken.update(id(n) for n in epilogue.nodes)
    return DenseConv((node,), convolution, geometry, map_size, (norm,) if norm else (), epilogue)


def why_not_replaced(convolution: Convolution) -> str | None:
    """Why nothing is gained by, or known of, another weight for a Conv; or None."""
    weight = convolution.weight
    if weight.ndim > 4:
        return f"{weight.ndim - 2}-D convolutions are not supported"
    if weight.dtype != np.float32:
        return f"the weight is {weight.dtype}, not float32"
    if not np.isfinite(weight).all():
        return "the weight holds NaN or Inf"
    if weight.shape[1] == 1 and convolution.group > 1:
        return "a depthwise convolution has too few weights"
    return None if weight.any() else "the weight is all zeros"


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


def why_not_here(site: DenseConv, context: Context) -> str | None:
    """Why the site stays as it is in these surroundings, or None."""
    if context.dtypes.get(site.nodes[0].inputs[0].name) != TensorProto.FLOAT:
        return "the input is not float32"
    return None
