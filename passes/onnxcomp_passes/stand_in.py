"""What stands in for a dense convolution with another weight: its numbers fitted to data, its candidate, its splice."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onnxcomp.context import Context, NotRunnable, Timing
from onnxcomp.convolution import macs
from onnxcomp.errors import DataError, ModelError
from onnxcomp.factored.counting import multiply_adds
from onnxcomp.factored.target import with_weight
from onnxcomp.fragment import Fragment, splice
from onnxcomp.layerwise import LayerProblem
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Pass, PassOptions, Site
from onnxcomp_passes.dense_conv import DenseConv

EXACT = 1e-6  # relative L2 error of a weight: what a few roundings to float32 come to


class StandInOptions(PassOptions):
    """Options of every pass that fits another weight."""

    sequential: bool = Field(True, description="fit each layer to what the data becomes in the layers before it")


class StandInPass(Pass):
    """A pass that replaces a Conv, or as many of the nodes fused into it as the candidate stands for."""

    options: StandInOptions

    def refine(self, site: Site, candidate: Candidate, context: Context) -> Candidate:
        """The candidate with its numbers fitted to the data, and the bias that keeps the outputs' means."""
        assert isinstance(site, DenseConv)
        problem = problem_of(site, context, sequential=self.options.sequential)
        found = self.fitted(site, candidate, problem, context)
        assert found.before is not None, "the Conv with the weight that is stood for"
        weight = found.before.constants[found.before.nodes[0].input[1]]
        return replace(found, timing=candidate.timing, output_error=problem.error(weight))

    @abstractmethod
    def fitted(self, site: DenseConv, candidate: Candidate, problem: LayerProblem, context: Context) -> Candidate:
        """`candidate` with the numbers that are nearest in the norm of `problem`."""

    def apply(self, graph: Model, site: Site, candidate: Candidate) -> None:
        """Splice the candidate in; what it does not stand for stays."""
        assert isinstance(site, DenseConv) and candidate.before is not None and candidate.after is not None
        splice(graph, site.fused[: len(candidate.before.nodes)], candidate.after)


def problem_of(site: DenseConv, context: Context, *, sequential: bool) -> LayerProblem:
    """What the Conv's stand-in is to be near to. Raises NotRunnable where that cannot be told from the data."""
    assert context.layerwise is not None
    try:
        return context.layerwise.problem(site.key, sequential=sequential)
    except (ModelError, DataError) as error:
        raise NotRunnable(str(error)) from error


@dataclass(frozen=True, eq=False)
class Draft:
    """What is made of the first `count` of a site's fused nodes, W', the weight it stands for, and how it is told."""

    after: Fragment
    weight: NDArray[np.floating]
    options: Mapping[str, Any]
    count: int = 1
    bias: NDArray[np.floating] | None = None  # b', where it is another too


def candidate(method: str, site: DenseConv, draft: Draft, context: Context, *, measured: bool) -> Candidate:
    """The draft as a candidate, timed with what it leaves of the fused nodes against all of them as they are.

    Where W' is W but for rounding, the rewrite stands for W itself, and is exact.
    """
    before, dense = Fragment.of(context.model, site.fused[: draft.count]), site.convolution.weight
    error = relative_error(dense, draft.weight.reshape(dense.shape))
    dense_macs = macs(site.nodes[0], context.shapes, dense.shape)
    return Candidate(
        method,
        draft.after,
        before if error <= EXACT else with_weight(before, draft.weight, draft.bias),
        draft.options,
        _timing(site, draft, context) if measured else None,
        error=0.0 if error <= EXACT else error,
        size_bytes=(before.size_bytes, draft.after.size_bytes),
        macs=None
        if dense_macs is None
        else (dense_macs, multiply_adds(draft.after, context.shapes, context.model.opset)),
    )


def _timing(site: DenseConv, draft: Draft, context: Context) -> Timing | None:
    whole, after = Fragment.of(context.model, site.fused), draft.after
    constants = {**whole.constants, **after.constants}
    nodes = (*after.nodes, *whole.nodes[draft.count :])
    read = {name for node in nodes for name in node.input}
    kept = {name: value for name, value in constants.items() if name in read}
    return context.measure(whole, Fragment(nodes, kept, whole.inputs, whole.outputs, after.functions))


def relative_error(weight: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """|W - W'| / |W|."""
    exact = weight.astype(np.float64)
    return float(np.linalg.norm(exact - other) / np.linalg.norm(exact))


def as_stored(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """`values` rounded to float32, so that what is reconstructed is what will be computed with."""
    return values.astype(np.float32).astype(np.float64)
