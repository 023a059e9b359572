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

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnxcomp.context import Context, NotRunnable
from onnxcomp.factored.target import Steps
from onnxcomp.formats import unified
from onnxcomp.formats.find_unified import shared
from onnxcomp.formats.functions import MIN_OPSET
from onnxcomp.formats.unified import Unified
from onnxcomp.fragment import Fragment, splice
from onnxcomp.layerwise import LayerProblem
from onnxcomp.model import Model
from onnxcomp.numerics.admm import ITERATIONS
from onnxcomp.numerics.unification import MicroStructure, as_stored, in_float32, split, unify
from onnxcomp.pass_api import Candidate, Declined, Pass, Site
from onnxcomp_passes.factoring import Draft, FactorSite, candidate, factor_sites, problem_of, why_not_here
from onnxcomp_passes.sparse_gemm import LinearSite
from onnxcomp_passes.unified_layer import (
    in_words,
    unified_convolution,
)
from onnxcomp_passes.unify_linear import linear_candidate, linear_sites, why_nothing_found
from onnxcomp_passes.unify_options import UnifyOptions


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
        only_found = self.options.structure is None and self.options.form == "operator"
        refusal = None if only_found else "of a fully connected layer only the blocks that it has already are used"
        yield from linear_sites(graph, refusal)

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The operator, timed against the dense layer."""
        if isinstance(site, LinearSite):
            yield linear_candidate(self.name, site, context, measured=self.options.when == "faster")
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
            merged = self.options.form == "merged"
            return "form=merged needs unified or pruned" if merged else why_nothing_found(weight)
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
        scales = self.options.scale_type
        weight = unify(
            problem.weight, problem.moment, structure, scales, iterations=iterations, rounds=self.options.rounds
        )
        return weight, _encoded(weight, structure)

    def _plain(self, site: FactorSite, structure: MicroStructure) -> tuple[NDArray[np.float32], Unified]:
        weight = site.convolution.weight
        nearest = split(weight.astype(np.float64), structure)
        rounded = as_stored(nearest, structure.levels, self.options.scale_type)
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


def _encoded(weight: NDArray[np.float32], structure: MicroStructure) -> Unified:
    return unified.encode(weight, (structure.block.outputs, structure.block.inputs), structure.levels)
