"""What stands in for a layer with another weight: its numbers fitted to data, its candidate, its place in the graph."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from pydantic import Field

from onnxcomp.context import Context, NotRunnable, Timing
from onnxcomp.errors import DataError, ModelError
from onnxcomp.factored.counting import multiply_adds
from onnxcomp.fragment import Fragment, renamed, splice, unique
from onnxcomp.layerwise import LayerProblem
from onnxcomp.model import Model
from onnxcomp.numerics.threads import fit_for
from onnxcomp.pass_api import Candidate, Declined, Pass, PassOptions, Site
from onnxcomp_passes.factor_sites import FactorSite, Reader, factor_sites

EXACT = 1e-6  # relative L2 error of a weight: what a few roundings to float32 come to


class StandInOptions(PassOptions):
    """Options of every pass that fits another weight."""

    sequential: bool = Field(True, description="fit each layer to what the data becomes in the layers before it")


class StandInPass(Pass):
    """A pass that replaces a layer, or as many of the nodes fused into it as the candidate stands for."""

    options: StandInOptions
    readers: ClassVar[Mapping[str, Reader]]  # of the layers it replaces, by their operator

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every layer that the pass can replace."""
        for site in factor_sites(graph, self.readers):
            reason = self.why_not(site) if isinstance(site, FactorSite) else None
            yield Declined(site.name, reason) if reason and isinstance(site, FactorSite) else site

    def why_not(self, site: FactorSite) -> str | None:
        """Why the layer is none for the pass, as far as its weight alone tells, or None."""
        return None

    def refine(self, site: Site, candidate: Candidate, context: Context) -> Candidate:
        """The candidate with its numbers fitted to the data, and the bias that keeps the outputs' means."""
        assert isinstance(site, FactorSite)
        problem = problem_of(site, context, sequential=self.options.sequential)
        with fit_for(problem.size):
            fit = self.fitted(site, candidate, problem, context)
        return replace(fit, timing=candidate.timing, network_change=candidate.network_change)

    @abstractmethod
    def fitted(self, site: FactorSite, candidate: Candidate, problem: LayerProblem, context: Context) -> Candidate:
        """`candidate` with the numbers that are nearest in the norm of `problem`."""

    def apply(self, graph: Model, site: Site, candidate: Candidate) -> None:
        """Splice the candidate in; what it does not stand for stays."""
        assert isinstance(site, FactorSite) and candidate.after is not None
        given = [node.outputs[0].name for node in site.fused]
        splice(graph, site.fused[: given.index(candidate.after.outputs[0]) + 1], candidate.after)


def problem_of(site: FactorSite, context: Context, *, sequential: bool) -> LayerProblem:
    """What the layer's stand-in is to be near to. Raises NotRunnable where that cannot be told from the data."""
    assert context.layerwise is not None
    try:
        return context.layerwise.problem(site.key, sequential=sequential)
    except (ModelError, DataError) as error:
        raise NotRunnable(str(error)) from error


def why_not_here(site: FactorSite, context: Context) -> str | None:
    """Why the site stays as it is in these surroundings, or None."""
    if context.dtypes.get(site.nodes[0].inputs[0].name) != TensorProto.FLOAT:
        return "the input is not float32"
    return None


@dataclass(frozen=True, eq=False)
class Draft:
    """What is made of the layer, or of `count` of its fused nodes, W', the weight it stands for, and how it is told."""

    after: Fragment
    weight: NDArray[np.floating]
    options: Mapping[str, Any]
    count: int | None = None
    bias: NDArray[np.floating] | None = None  # b', where it is another too


def reweighted(
    site: FactorSite,
    context: Context,
    weight: NDArray[np.floating],
    options: Mapping[str, Any],
    role: str,
    bias: NDArray[np.floating] | None = None,
) -> Draft:
    """The same layer with other numbers, under names of their own that end in `role`."""
    dense = site.dense(Fragment.of(context.model, site.nodes), weight, bias)
    taken = {*dense.inputs, *dense.constants}
    names = {name: unique(f"{name}_{role}", taken) for name in dense.constants}
    return Draft(renamed(dense, names), weight, options, bias=bias)


def candidate(
    method: str,
    site: FactorSite,
    draft: Draft,
    context: Context,
    *,
    measured: bool = False,
    problem: LayerProblem | None = None,
) -> Candidate:
    """The draft as a candidate; `measured` with what it leaves of the fused nodes against all of them as they are.

    Where W' is W but for rounding, the rewrite stands for W itself, and is exact. `problem` is what W' was fitted to.
    """
    count = draft.count or len(site.nodes)
    before = Fragment.of(context.model, site.fused[:count])
    error = relative_error(site.weight, draft.weight.reshape(site.weight.shape))
    dense_macs = site.macs(context)
    return Candidate(
        method,
        draft.after,
        before if error <= EXACT else site.dense(before, draft.weight, draft.bias),
        draft.options,
        _timing(site, draft.after, count, context) if measured else None,
        error=0.0 if error <= EXACT else error,
        output_error=None if problem is None else problem.error(draft.weight.reshape(site.weight.shape)),
        size_bytes=(before.size_bytes, draft.after.size_bytes),
        macs=None
        if dense_macs is None
        else (dense_macs, multiply_adds(draft.after, context.shapes, context.model.opset)),
    )


def _timing(site: FactorSite, after: Fragment, count: int, context: Context) -> Timing | None:
    whole = Fragment.of(context.model, site.fused)
    constants = {**whole.constants, **after.constants}
    nodes = (*after.nodes, *whole.nodes[count:])
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
