"""unify: compute a layer whose weights share a magnitude, block by block, by sums under patterns of signs.

    Conv(X, W, b) [-> Add Z] [-> activation]
      becomes  ai.onnxcomp::UnifiedConv[Add][activation](X, kinds, scales, digits, values, b [, Z])
    Gemm(X, W, c), MatMul(X, W) [-> Add c], [-> activation]
      becomes  ai.onnxcomp::UnifiedGemm[activation](X, kinds, scales, digits, values, b), or UnifiedMatMul

with W in blocks of neighbouring channels, each of which is zero, free, or unified: every weight is the block's
magnitude times a sign and one of a few levels (onnxcomp/formats/unified.py; micro-structured weight unification and
pruning, 2021). Applies to float32 layers with a constant weight, 1-D and 2-D convolutions of any strides, pads,
dilations and groups; only where the operator is measured faster than ONNX Runtime's dense layer here, unless
`when=always`.

Without options only blocks that a weight has already are used, as networks trained with binary, ternary or block-scaled
weights have them, which is exact. `unified` and `pruned` are shares of a Conv's blocks that become so, those first
that lose least by it. Such a layer computes with another weight, by the error that its candidate tells; with data
kinds, signs and magnitudes are fitted to it (onnxcomp/numerics/unification.py). `form=merged` keeps the dense Conv and
gives it that weight, for unified-weight behind it to store.

Never touches depthwise convolutions, channels that do not divide into blocks, and nodes inside If, Loop or Scan bodies.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto
from pydantic import Field, field_validator, model_validator

from onnxcomp.context import Context, NotRunnable
from onnxcomp.convolution import is_standard, macs
from onnxcomp.factored.target import Steps
from onnxcomp.formats import unified
from onnxcomp.formats.find_unified import shared
from onnxcomp.formats.functions import MIN_OPSET
from onnxcomp.formats.unified import Unified
from onnxcomp.fragment import Fragment, splice
from onnxcomp.layerwise import LayerProblem
from onnxcomp.model import Model
from onnxcomp.numerics.admm import ITERATIONS
from onnxcomp.numerics.blocks import Block
from onnxcomp.numerics.levels import check_levels
from onnxcomp.numerics.unification import MicroStructure, as_stored, in_float32, split, unify
from onnxcomp.pass_api import Candidate, Declined, Pass, PassOptions, Site
from onnxcomp_passes.epilogue import find_activation
from onnxcomp_passes.factoring import Draft, FactorSite, candidate, factor_sites, problem_of, why_not_here
from onnxcomp_passes.linear import Linear
from onnxcomp_passes.sparse_gemm import LinearSite
from onnxcomp_passes.unified_layer import (
    in_words,
    levels_in_words,
    unified_convolution,
    unified_product,
)

Solver = Literal["admm", "refit", "plain"]
_SCALES: Mapping[str, type[np.floating]] = MappingProxyType({"fp16": np.float16, "fp32": np.float32})


class UnifyOptions(PassOptions):
    """Options of unify."""

    unified: float = Field(0.0, ge=0, le=1, description="share of each Conv's blocks to give one magnitude")
    pruned: float = Field(0.0, ge=0, le=1, description="share of each Conv's blocks to leave out")
    block: str = Field("4x4", description="output x input channels of a block")
    levels: str = Field("1", description="what a block's magnitude is multiplied by, one for each weight: 1:0.5:0")
    scales: Literal["fp16", "fp32"] = Field("fp16", description="type that the magnitudes are rounded to and stored in")
    solver: Solver = Field("admm", description="how the weight is fitted to data; plain: only its bias")
    rounds: int = Field(1, ge=1, le=ITERATIONS, description="steps in which admm raises the shares to what is asked")
    sequential: bool = Field(True, description="fit each layer to what the data becomes in the layers before it")
    form: Literal["operator", "merged"] = Field("operator", description="what computes it; merged: the dense Conv")
    when: Literal["faster", "always"] = Field("faster", description="rewrite where measured faster, or everywhere")

    @field_validator("block")
    @classmethod
    def _one_tap(cls, text: str) -> str:
        if Block.parse(text).taps > 1:
            raise ValueError(f"'{text}' spans taps, which is stored in no form; write outputs x inputs, 4x4")
        return text

    @field_validator("levels")
    @classmethod
    def _in_order(cls, text: str) -> str:
        try:
            levels = check_levels(tuple(float(level) for level in text.split(":")))
        except ValueError as error:
            raise ValueError(f"'{text}': {error}; write 1:0.5:0") from error
        unified.signed_levels(levels)
        return levels_in_words(levels)

    @model_validator(mode="after")
    def _one_whole(self) -> "UnifyOptions":
        _ = self.structure
        return self

    @property
    def structure(self) -> MicroStructure | None:
        """What weights are to become; None where they stay what they are."""
        if not self.unified and not self.pruned:
            return None
        levels = tuple(float(level) for level in self.levels.split(":"))
        return MicroStructure(Block.parse(self.block), levels, self.unified, self.pruned)


class Unify(Pass):
    """Compute layers whose weights share magnitudes, block by block, by sums under patterns of signs."""

    name = "unify"
    summary = "compute layers whose blocks of weights share a magnitude by sums under patterns of signs"
    Options = UnifyOptions
    portable = False
    min_opset = MIN_OPSET
    options: UnifyOptions

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every Conv that has such blocks or can be given them, and every fully connected layer that has them."""
        for site in factor_sites(graph):
            reason = self._why_not(site) if isinstance(site, FactorSite) else None
            yield Declined(site.name, reason) if reason and isinstance(site, FactorSite) else site
        yield from self._linear_sites(graph)

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The operator, timed against the dense layer."""
        if isinstance(site, LinearSite):
            yield self._of_linear(site, context)
            return
        assert isinstance(site, FactorSite)
        refusal = why_not_here(site, context)
        try:
            weight, stored = self._given(site)
        except ValueError as error:
            refusal = str(error)
        if refusal:
            yield Declined(site.name, refusal)
            return
        options = {**in_words(stored, weight.size), "form": self.options.form}
        after, count = self._emitted(site, context, weight, stored)
        measured = self.options.when == "faster" and self.options.form == "operator"
        yield candidate(self.name, site, Draft(after, weight, options, count), context, measured=measured)

    def refine(self, site: Site, candidate_: Candidate, context: Context) -> Candidate:
        """Blocks of the same size and shares, fitted to the data, with the bias that keeps the outputs' means."""
        assert isinstance(site, FactorSite), "the others stay exact"
        problem = problem_of(site, context, sequential=self.options.sequential)
        try:
            weight, stored = self._fitted(site, problem)
        except ValueError as error:
            raise NotRunnable(str(error)) from error
        bias = problem.bias(weight)
        after, count = self._emitted(site.with_bias(bias), context, weight, stored)
        draft = Draft(after, weight, candidate_.options, count, bias)
        return replace(candidate(self.name, site, draft, context, measured=False), timing=candidate_.timing)

    def apply(self, graph: Model, site: Site, candidate: Candidate) -> None:
        """Splice the candidate in; what it does not stand for stays."""
        assert candidate.before is not None and candidate.after is not None
        nodes = site.fused[: len(candidate.before.nodes)] if isinstance(site, FactorSite) else site.nodes
        splice(graph, nodes, candidate.after)

    def _why_not(self, site: FactorSite) -> str | None:
        weight, structure = site.convolution.weight, self.options.structure
        if structure is None:
            return _why_nothing_found(weight)
        return structure.block.refusal(weight.shape, site.convolution.group)

    def _given(self, site: FactorSite) -> tuple[NDArray[np.float32], Unified]:
        """The weight without regard to data, and as it is stored. ValueError where it cannot be."""
        structure = self.options.structure
        if structure is None:
            found = shared(site.convolution.weight)
            assert found is not None, "matched"
            return site.convolution.weight, found
        return self._plain(site, structure)

    def _fitted(self, site: FactorSite, problem: LayerProblem) -> tuple[NDArray[np.float32], Unified]:
        structure, solver = self.options.structure, self.options.solver
        assert structure is not None, "what is exact is not fitted"
        if solver == "plain":
            return self._plain(site, structure)
        iterations = ITERATIONS if solver == "admm" else 0
        scales = _SCALES[self.options.scales]
        weight = unify(
            problem.weight, problem.moment, structure, scales, iterations=iterations, rounds=self.options.rounds
        )
        return weight, _encoded(weight, structure)

    def _plain(self, site: FactorSite, structure: MicroStructure) -> tuple[NDArray[np.float32], Unified]:
        weight = site.convolution.weight
        nearest = split(weight.astype(np.float64), structure)
        rounded = as_stored(nearest, structure.levels, _SCALES[self.options.scales])
        result = in_float32(rounded.weight(weight.shape))
        return result, _encoded(result, structure)

    def _emitted(
        self, site: FactorSite, context: Context, weight: NDArray[np.float32], stored: Unified
    ) -> tuple[Fragment, int]:
        """The fragment, and how many of the fused nodes it stands for."""
        if self.options.form == "merged":
            target = site.target(context.model)
            steps, convolution = Steps(target), site.convolution
            steps.conv("unified", steps.x, weight, site.geometry, group=convolution.group, bias=convolution.bias)
            return steps.fragment(), 1
        return unified_convolution(site, context, stored)

    def _linear_sites(self, graph: Model) -> Iterable[LinearSite | Declined]:
        taken: set[int] = set()
        for node in list(graph.graph.nodes):
            if is_standard(node, "Gemm", "MatMul"):
                yield self._linear_site(graph, node, taken)

    def _linear_site(self, graph: Model, node: gs.Node, taken: set[int]) -> LinearSite | Declined:
        linear = Linear.read(graph, node)
        reason = linear if isinstance(linear, str) else self._why_not_linear(linear)
        if reason is None and graph.stored_bytes(node.inputs[1]) is None:
            reason = f"'{node.inputs[1].name}' is a constant expression: blocks of it would be stored"
        if reason or isinstance(linear, str):
            return Declined(Site((node,)).name, str(reason))
        epilogue = find_activation(graph, linear.nodes[-1].outputs[0], taken)
        taken.update(id(n) for n in epilogue.nodes)
        return LinearSite((*linear.nodes, *epilogue.nodes), linear, epilogue)

    def _why_not_linear(self, linear: Linear) -> str | None:
        if self.options.structure is not None or self.options.form == "merged":
            return "of a fully connected layer only the blocks that it has already are used"
        return _why_nothing_found(linear.weight)

    def _of_linear(self, site: LinearSite, context: Context) -> Candidate | Declined:
        x, weight = site.nodes[0].inputs[0].name, site.linear.weight
        if context.dtypes.get(x) != TensorProto.FLOAT:
            return Declined(site.name, "the input is not float32")
        stored = shared(weight)
        assert stored is not None, "matched"
        before, after = Fragment.of(context.model, site.nodes), unified_product(site, context, stored)
        dense = macs(site.nodes[0], context.shapes, weight.T.shape)
        live = stored.scales.size * stored.block[0] * stored.block[1] + stored.values.size
        return Candidate(
            self.name,
            after,
            before,
            in_words(stored, weight.size),
            context.measure(before, after) if self.options.when == "faster" else None,
            size_bytes=(before.size_bytes, after.size_bytes),
            macs=None if dense is None else (dense, dense * live // weight.size),
        )


def _why_nothing_found(weight: NDArray[np.floating]) -> str | None:
    """Why no operator takes `weight` as it is, or None."""
    if weight.dtype != np.float32:
        return f"the weight is {weight.dtype}, the kernel computes in float32"
    if not np.isfinite(weight).all():
        return "the weight holds NaN or Inf"
    return None if shared(weight) is not None else "no blocks of one magnitude"


def _encoded(weight: NDArray[np.float32], structure: MicroStructure) -> Unified:
    return unified.encode(weight, (structure.block.outputs, structure.block.inputs), structure.levels)
