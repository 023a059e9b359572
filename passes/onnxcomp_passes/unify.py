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
weights have them, which is exact. `unified` and `pruned` are shares of a layer's blocks that become so, those
first that lose least by it. Such a layer computes with another weight, by the error that its candidate tells; with data
kinds, signs and magnitudes are fitted to it (onnxcomp/numerics/unification.py). `form=merged` keeps the dense layer and
gives it that weight, for unified-weight behind it to store.

Never touches depthwise convolutions, channels that do not divide into blocks, and nodes inside If, Loop or Scan bodies.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onnxcomp.context import Context, NotRunnable
from onnxcomp.formats import unified
from onnxcomp.formats.find_unified import find
from onnxcomp.formats.functions import MIN_OPSET
from onnxcomp.formats.unified import Unified
from onnxcomp.layerwise import LayerProblem
from onnxcomp.numerics.unification import MicroStructure, as_stored, in_float32, split, unify
from onnxcomp.pass_api import Candidate, Declined, Site
from onnxcomp_passes.factor_sites import FactorSite
from onnxcomp_passes.layers import LAYERS
from onnxcomp_passes.stand_in import Draft, StandInPass, candidate, reweighted, why_not_here
from onnxcomp_passes.unified_layer import in_words, unified_layer
from onnxcomp_passes.unify_options import UnifyOptions


class Unify(StandInPass):
    """Compute layers whose weights share magnitudes, block by block, by sums under patterns of signs."""

    name = "unify"
    summary = "compute layers whose blocks of weights share a magnitude by sums under patterns of signs"
    Options = UnifyOptions
    portable = False
    min_opset = MIN_OPSET
    options: UnifyOptions
    readers = LAYERS

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The operator, timed against the dense layer."""
        assert isinstance(site, FactorSite)
        refusal = why_not_here(site, context)
        if refusal is None and self.options.structure is not None:
            refusal = site.why_not_approximated(on_data=context.layerwise is not None)
        try:
            weight, stored = self._given(site)
        except ValueError as error:
            refusal = refusal or str(error)
        if refusal:
            yield Declined(site.name, refusal)
            return
        draft = self._draft(site, context, weight, stored)
        measured = self.options.when == "faster" and self.options.form == "operator"
        yield candidate(self.name, site, draft, context, measured=measured)

    def fitted(self, site: FactorSite, candidate_: Candidate, problem: LayerProblem, context: Context) -> Candidate:
        """Blocks of the same size and shares, nearest to W* in its norm."""
        try:
            weight, stored = self._fitted(site, problem)
        except ValueError as error:
            raise NotRunnable(str(error)) from error
        draft = self._draft(site, context, weight, stored, problem.bias(weight))
        return candidate(self.name, site, replace(draft, options=candidate_.options), context, problem=problem)

    def why_not(self, site: FactorSite) -> str | None:
        """Why it has no such blocks, or can not be given them, or None."""
        structure = self.options.structure
        if structure is not None:
            return structure.block.refusal(site.weight.shape, len(site.groups))
        if self.options.form == "merged":
            return "form=merged needs unified or pruned"
        return None if find(site.weight) is not None else "no blocks of one magnitude"

    def _given(self, site: FactorSite) -> tuple[NDArray[np.float32], Unified]:
        """The weight without regard to data, and as it is stored. ValueError where it cannot be."""
        structure = self.options.structure
        if structure is None:
            found = find(site.weight)
            assert found is not None, "matched"
            return site.weight.astype(np.float32), found
        return self._plain(site, structure)

    def _fitted(self, site: FactorSite, problem: LayerProblem) -> tuple[NDArray[np.float32], Unified]:
        structure, options = self.options.structure, self.options
        assert structure is not None, "what is exact is not fitted"
        if options.solver == "plain":
            return self._plain(site, structure)
        by_admm = options.solver == "admm"
        weight = unify(
            problem.weight,
            problem.damped,
            structure,
            options.scale_type,
            norm=problem.norm(scaled=False) if by_admm else None,
            iterations=None if by_admm else 0,
            rounds=options.rounds,
            rough=problem.rough,
        )
        return weight, _encoded(weight, structure)

    def _plain(self, site: FactorSite, structure: MicroStructure) -> tuple[NDArray[np.float32], Unified]:
        nearest = split(site.weight.astype(np.float64), structure)
        rounded = as_stored(nearest, structure.levels, self.options.scale_type)
        result = in_float32(rounded.weight(site.weight.shape))
        return result, _encoded(result, structure)

    def _draft(
        self,
        site: FactorSite,
        context: Context,
        weight: NDArray[np.float32],
        stored: Unified,
        bias: NDArray[np.floating] | None = None,
    ) -> Draft:
        told = {**in_words(stored, weight.size), "form": self.options.form}
        if self.options.form == "merged":
            return reweighted(site, context, weight, told, self.name, bias)
        rebuilt = site if bias is None else site.with_bias(bias)
        after, count = unified_layer(rebuilt, context, stored)
        return Draft(after, weight, told, count, bias)


def _encoded(weight: NDArray[np.float32], structure: MicroStructure) -> Unified:
    return unified.encode(weight, (structure.block.outputs, structure.block.inputs), structure.levels)
