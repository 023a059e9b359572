"""Layers whose weights could be factored, or others: what a pass has to know of one, whichever its kind."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.context import Context
from onnxcomp.convolution import is_standard
from onnxcomp.factored.prediction import Cost
from onnxcomp.fragment import Fragment
from onnxcomp.model import Model
from onnxcomp.numerics.kronecker import Factors, KroneckerShape
from onnxcomp.pass_api import Declined, Site
from onnxcomp_passes.epilogue import Epilogue


@dataclass(frozen=True, eq=False)
class FactorSite(Site, ABC):
    """A layer of constant weight, and what ONNX Runtime fuses into it.

    Factored, it may lose what is fused into it: candidates are timed with all of that, and replace the layer alone.
    """

    epilogue: Epilogue
    # Shapes and ranks known to be all of the weight.
    exact: tuple[tuple[KroneckerShape, int], ...] = field(default=(), kw_only=True)

    @property
    @abstractmethod
    def weight(self) -> NDArray[np.floating]:
        """W (C_out, C_in / group, k...), or (N, K)."""

    @property
    @abstractmethod
    def walk(self) -> object:
        """How the layer goes over its input."""

    @property
    def fused(self) -> tuple[gs.Node, ...]:
        """The layer and all that is fused into it."""
        return (*self.nodes, *self.epilogue.nodes)

    @property
    def groups(self) -> list[NDArray[np.floating]]:
        """The weight of each group as a kernel in two dimensions: (C_out / group, C_in / group, kh, kw)."""
        return self.groups_of(self.weight)

    @abstractmethod
    def groups_of(self, weight: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        """The same of another weight of that size."""

    @abstractmethod
    def with_bias(self, bias: NDArray[np.floating]) -> Self:
        """The site of a layer with another bias (C_out)."""

    @abstractmethod
    def dense(self, before: Fragment, weight: NDArray[np.floating], bias: NDArray[np.floating] | None) -> Fragment:
        """`before`, the layer and as many of the nodes fused into it, with another weight, and bias where given."""

    @abstractmethod
    def factored(self, model: Model, factors: Sequence[Factors]) -> Fragment:
        """The layer by the factors of each group."""

    @abstractmethod
    def why_not(self, shape: KroneckerShape) -> str | None:
        """Why the layer has no form where its weights split as `shape`, or None."""

    def why_not_approximated(self, *, on_data: bool) -> str | None:
        """Why factors near the weight, fitted to data or not, can not be computed, or None."""
        return None

    @abstractmethod
    def cost(self, context: Context) -> Cost | str:
        """The rule for what factors take, or why it can not be told."""

    @abstractmethod
    def macs(self, context: Context) -> int | None:
        """Multiply-adds of the layer, None where a shape is unknown."""


Reader = Callable[[Model, gs.Node, set[int]], FactorSite | Declined]
"""What makes a site of a node; ids of nodes that belong to other sites are in the set, and those it takes go there."""


def factor_sites(graph: Model, readers: Mapping[str, Reader]) -> Iterator[FactorSite | Declined]:
    """Every node of `graph` whose operator has a reader, in order."""
    graph.infer_shapes()
    taken: set[int] = set()
    for node in list(graph.graph.nodes):
        if is_standard(node, *readers):
            yield readers[node.op](graph, node, taken)


def why_not_constants(
    graph: Model, node: gs.Node, weight: NDArray[np.floating], bias: NDArray[np.floating]
) -> str | None:
    """Why a layer X, W of these numbers can have no other weight, whatever its kind, or None."""
    x, w = node.inputs[:2]
    if graph.constant(x) is not None:
        return "its input is a constant"
    if graph.stored_bytes(w) is None:
        return f"'{w.name}' is a constant expression: numbers would be stored in its place"
    if weight.dtype != np.float32:
        return f"the weight is {weight.dtype}, not float32"
    for what, values in (("weight", weight), ("bias", bias)):
        if not np.isfinite(values).all():
            return f"the {what} holds NaN or Inf"
    return None if weight.any() else "the weight is all zeros"
