"""Fully connected layers whose weights could be others: Gemm, and MatMul with the Add of its bias."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.context import Context
from onnxcomp.convolution import macs
from onnxcomp.factored import linear as emission
from onnxcomp.factored.linear import LinearTarget
from onnxcomp.factored.prediction import Cost, linear_cost
from onnxcomp.factored.search import LARGEST_WEIGHT
from onnxcomp.fragment import Fragment
from onnxcomp.linear import Linear
from onnxcomp.model import Model
from onnxcomp.numerics.kronecker import Factors, KroneckerShape
from onnxcomp.pass_api import Declined, Site
from onnxcomp_passes.epilogue import find_activation
from onnxcomp_passes.factor_sites import FactorSite, why_not_constants

_MOST_INPUTS = 4096  # of a layer that is fitted to data: a moment of 134 MB, and a few copies
_MOST = 5 * 10**7  # numbers of a weight, of which double precision makes copies: 2 GB


@dataclass(frozen=True, eq=False)
class LinearSite(FactorSite):
    """A fully connected layer, its numbers, and the activation behind it."""

    linear: Linear
    rank: int  # of its input

    @property
    def weight(self) -> NDArray[np.floating]:
        return self.linear.weight

    @property
    def walk(self) -> int:
        return self.rank

    def groups_of(self, weight: NDArray[np.floating]) -> list[NDArray[np.floating]]:
        return [np.ascontiguousarray(weight).reshape(*self.weight.shape, 1, 1)]

    def with_bias(self, bias: NDArray[np.floating]) -> "LinearSite":
        return replace(self, linear=replace(self.linear, bias=bias))

    def dense(self, before: Fragment, weight: NDArray[np.floating], bias: NDArray[np.floating] | None) -> Fragment:
        nodes, behind = before.nodes[: len(self.nodes)], before.nodes[len(self.nodes) :]
        layer = replace(before, nodes=nodes, outputs=tuple(nodes[-1].output))
        target = LinearTarget(layer, self.rank, self.linear.bias if bias is None else bias)
        dense = emission.dense(target, weight.reshape(self.weight.shape))
        read = {name for node in behind for name in node.input}
        constants = {name: value for name, value in before.constants.items() if name in read}
        return replace(
            dense, nodes=(*dense.nodes, *behind), constants={**dense.constants, **constants}, outputs=before.outputs
        )

    def factored(self, model: Model, factors: Sequence[Factors]) -> Fragment:
        (one,) = factors
        return emission.kronecker(LinearTarget(Fragment.of(model, self.nodes), self.rank, self.linear.bias), one)

    def why_not(self, shape: KroneckerShape) -> str | None:
        return None

    def why_not_approximated(self, *, on_data: bool) -> str | None:
        inputs = self.weight.shape[1]
        if self.weight.size > LARGEST_WEIGHT:
            return (
                f"a weight of {self.weight.size:,} numbers is too large to be approximated; {LARGEST_WEIGHT:,} at most"
            )
        if on_data and inputs > _MOST_INPUTS:
            return f"{inputs:,} inputs are too many to be fitted to data; {_MOST_INPUTS:,} at most"
        return None

    def cost(self, context: Context) -> Cost | str:
        x = context.shapes.get(self.nodes[0].inputs[0].name, (0,))
        return "the shape of its input is not known" if 0 in x else linear_cost(self.weight.shape, prod(x[:-1]))

    def macs(self, context: Context) -> int | None:
        return macs(self.nodes[0], context.shapes, self.weight.T.shape)


def linear_site(graph: Model, node: gs.Node, taken: set[int]) -> LinearSite | Declined:
    """A Gemm or MatMul, with what follows it."""
    linear = Linear.read(graph, node)
    reason = linear if isinstance(linear, str) else _why_not_factored(graph, linear)
    if reason or isinstance(linear, str):
        return Declined(Site((node,)).name, str(reason))
    epilogue = find_activation(graph, linear.nodes[-1].outputs[0], taken)
    taken.update(id(n) for n in epilogue.nodes)
    return LinearSite(linear.nodes, epilogue, linear, 2 if node.op == "Gemm" else len(node.inputs[0].shape))


def _why_not_factored(graph: Model, linear: Linear) -> str | None:
    node = linear.nodes[0]
    if linear.any_rank and node.inputs[0].shape is None:
        return "the rank of its input is not known"
    if linear.weight.size > _MOST:
        return f"a weight of {linear.weight.size:,} numbers is too large to be replaced; {_MOST:,} at most"
    return why_not_constants(graph, node, linear.weight, linear.bias)
