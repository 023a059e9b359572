"""What the passes that factor convolutions share: their sites, and the candidates made of factors."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto
from pydantic import Field

from onnxcomp.context import Context, NotRunnable, Timing
from onnxcomp.convolution import Convolution, is_standard, macs
from onnxcomp.errors import DataError, ModelError
from onnxcomp.factored.counting import multiply_adds
from onnxcomp.factored.geometry import Geometry, MapSize
from onnxcomp.factored.target import Target, with_weight
from onnxcomp.fragment import Fragment, splice
from onnxcomp.layerwise import LayerProblem
from onnxcomp.model import Model
from onnxcomp.numerics import kronecker, shared_basis
from onnxcomp.numerics.kronecker import KroneckerShape
from onnxcomp.numerics.spectrum import tail_energies
from onnxcomp.pass_api import Candidate, Declined, Pass, PassOptions, Site
from onnxcomp_passes.epilogue import Epilogue, find_epilogue

EXACT = 1e-6  # relative L2 error of a weight: what a few roundings to float32 come to


Solver = Literal["als", "whitened", "svd"]


class FactoringOptions(PassOptions):
    """Options of kronecker and penni."""

    max_error: float | None = Field(
        None, ge=0, lt=1, description="relative L2 error a layer's weight may have; 0 is structure in the weights only"
    )
    solver: Solver = Field(
        "als", description="how factors are fitted to data: alternating least squares, one whitened SVD, or not at all"
    )
    sequential: bool = Field(True, description="fit each layer to what the data becomes in the layers before it")
    statistics: bool = Field(
        False, description="scale each output of a layer so that it varies on the data as it did, whatever the solver"
    )
    when: Literal["faster", "always"] = Field("faster", description="rewrite where measured faster, or everywhere")


@dataclass(frozen=True, eq=False)
class FactorSite(Site):
    """A Conv, its numbers, and what ONNX Runtime fuses into it: a BatchNormalization, a residual, an activation.

    Factored, a Conv may lose what is fused into it: candidates are timed with all of that, and replace the Conv alone.
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

    def with_bias(self, bias: NDArray[np.floating]) -> "FactorSite":
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


class FactoringPass(Pass):
    """A pass that replaces a Conv, or as many of the nodes fused into it as the candidate stands for."""

    options: FactoringOptions

    def refine(self, site: Site, candidate: Candidate, context: Context) -> Candidate:
        """The same factors' sizes, fitted to the data, with the bias that keeps the outputs' means."""
        assert isinstance(site, FactorSite)
        problem = problem_of(site, context, sequential=self.options.sequential)
        return replace(self.fitted(site, candidate, problem, context), timing=candidate.timing)

    @abstractmethod
    def fitted(self, site: FactorSite, candidate: Candidate, problem: LayerProblem, context: Context) -> Candidate:
        """`candidate` with the factors that are nearest in the norm of `problem`."""

    def apply(self, graph: Model, site: Site, candidate: Candidate) -> None:
        """Splice the candidate in; what it does not stand for stays."""
        assert isinstance(site, FactorSite) and candidate.before is not None and candidate.after is not None
        splice(graph, site.fused[: len(candidate.before.nodes)], candidate.after)


def problem_of(site: FactorSite, context: Context, *, sequential: bool) -> LayerProblem:
    """What the Conv's stand-in is to be near to. Raises NotRunnable where that cannot be told from the data."""
    assert context.layerwise is not None
    try:
        return context.layerwise.problem(site.key, sequential=sequential)
    except (ModelError, DataError) as error:
        raise NotRunnable(str(error)) from error


def factor_sites(graph: Model) -> Iterable[FactorSite | Declined]:
    """Every Conv of `graph`, with what follows it."""
    graph.infer_shapes()
    taken: set[int] = set()
    for node in list(graph.graph.nodes):
        if is_standard(node, "Conv"):
            yield _site(graph, node, taken)


def _site(graph: Model, node: gs.Node, taken: set[int]) -> FactorSite | Declined:
    name = Site((node,)).name
    convolution = Convolution.read(graph, node)
    reason = convolution if isinstance(convolution, str) else why_not_factored(convolution)
    if reason is None and graph.stored_bytes(node.inputs[1]) is None:
        reason = f"'{node.inputs[1].name}' is a constant expression: factors of it would be stored"
    if reason or isinstance(convolution, str):
        return Declined(name, str(reason))
    map_size = _map_size(node.inputs[0], convolution.weight.ndim)
    geometry = Geometry.of(convolution, map_size)
    if isinstance(geometry, str):
        return Declined(name, geometry)
    norm = _normalisation(graph, node)
    epilogue = find_epilogue(graph, norm or node, taken)
    taken.update(id(n) for n in epilogue.nodes)
    return FactorSite((node,), convolution, geometry, map_size, (norm,) if norm else (), epilogue)


def why_not_factored(convolution: Convolution) -> str | None:
    """Why nothing is gained by, or known of, factoring a Conv; or None."""
    weight = convolution.weight
    if weight.ndim > 4:
        return f"{weight.ndim - 2}-D convolutions are not supported"
    if weight.dtype != np.float32:
        return f"the weight is {weight.dtype}, factors are float32"
    if not np.isfinite(weight).all():
        return "the weight holds NaN or Inf"
    if weight.shape[1] == 1 and convolution.group > 1:
        return "a depthwise convolution has nothing to factor"
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


def why_not_here(site: FactorSite, context: Context) -> str | None:
    """Why the site can not be factored in these surroundings, or None."""
    if context.dtypes.get(site.nodes[0].inputs[0].name) != TensorProto.FLOAT:
        return "the input is not float32"
    return None


@dataclass(frozen=True, eq=False)
class Draft:
    """What is made of the first `count` of a site's fused nodes, W', the weight it stands for, and how it is told."""

    after: Fragment
    weight: NDArray[np.floating]
    options: Mapping[str, Any]
    count: int = 1
    bias: NDArray[np.floating] | None = None  # b', where it is another too


def candidate(method: str, site: FactorSite, draft: Draft, context: Context, *, measured: bool) -> Candidate:
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


def _timing(site: FactorSite, draft: Draft, context: Context) -> Timing | None:
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


def basis_errors(weight: NDArray[np.floating]) -> NDArray[np.float64]:
    """The relative L2 error of W (C_out, C_in / group, k...) in 0, 1, ... shared kernels."""
    shape = shared_basis.shape_of(weight.shape)
    tail = tail_energies(kronecker.unfold(weight.reshape(shape.weight), shape))
    errors: NDArray[np.float64] = np.sqrt(tail / tail[0])
    return errors


def few_bases(weight_shape: Sequence[int], d: int) -> bool:
    """Whether `d` shared kernels and their coefficients take fewer multiply-adds than W (C_out, C_in / group, k...)."""
    C_out, _, *kernel = weight_shape
    return d * (prod(kernel) + C_out) < prod(kernel) * C_out
