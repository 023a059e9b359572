"""prune: give a layer a weight with zeros, in a pattern that passes behind this one make fast.

    Conv(X, W, b)    becomes    Conv(X, W', b')    with W' in C, the weights with that share of zeros in that pattern
    X W^T + b        becomes    X W'^T + b'        likewise

    unstructured, n:16, 4x1, 16x1        for sparse-conv, which has a kernel for each; n is what `sparsity` leaves of 16
    4x4                                  blocks of 4 output and 4 input channels at one place of the kernel
    output-channels, input-channels      for shrink, which removes them

Where there is data, `solver=admm` looks for the W' whose outputs stay nearest (numerics/pruning.py): ADMM finds the
pattern (Zhang et al., A Systematic DNN Weight Pruning Framework using ADMM, ECCV 2018, section 3, with a layer's output
in place of the training loss), least squares the numbers that remain. `magnitude` keeps the largest numbers as they
are, as every solver does without data; `statistics` multiplies each row of these so that its output varies on the data
as it did. b' keeps the outputs' means.

Applies to float32 layers with a constant weight: 1-D and 2-D convolutions, Gemm and MatMul. The dense layer itself
gains no time by it. Never touches depthwise convolutions, nor what is inside If, Loop or Scan bodies.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onnxcomp.context import Context
from onnxcomp.formats.sparse_conv import WINDOW
from onnxcomp.layerwise import LayerProblem
from onnxcomp.numerics import projections
from onnxcomp.numerics.admm import Projection
from onnxcomp.numerics.pruning import prune
from onnxcomp.pass_api import Candidate, Declined, Site
from onnxcomp_passes.factor_sites import FactorSite
from onnxcomp_passes.layers import LAYERS
from onnxcomp_passes.stand_in import StandInOptions, StandInPass, as_stored, candidate, reweighted, why_not_here

Pattern = Literal["unstructured", "n:16", "4x1", "16x1", "4x4", "output-channels", "input-channels"]
_BLOCKS = MappingProxyType({"4x1": (4, 1), "16x1": (16, 1), "4x4": (4, 4)})  # output and input channels
_SINGLE = MappingProxyType(
    {
        "unstructured": projections.zeros,
        "output-channels": projections.output_channels,
        "input-channels": projections.input_channels,
    }
)


class PruneOptions(StandInOptions):
    """Options of prune."""

    sparsity: float = Field(gt=0, lt=1, description="share of each layer's weights to become zero")
    pattern: Pattern = Field("unstructured", description="how the zeros lie")
    solver: Literal["admm", "magnitude", "statistics"] = Field(
        "admm", description="which zeros, and what becomes of the other weights, where there is data"
    )


class Prune(StandInPass):
    """Give layers weights with zeros."""

    name = "prune"
    summary = "give layers weights with zeros, fitted to data, for the passes behind it"
    Options = PruneOptions
    options: PruneOptions
    readers = LAYERS

    def why_not(self, site: FactorSite) -> str | None:
        """Why the weight's channels do not divide as the pattern needs it, or None."""
        outputs, inputs = _BLOCKS.get(self.options.pattern, (1, WINDOW if self.options.pattern == "n:16" else 1))
        C_out, C_in = site.groups[0].shape[:2]
        if C_out % outputs:
            return f"{C_out} output channels of a group do not divide by {outputs}"
        return f"{C_in} input channels of a group do not divide by {inputs}" if C_in % inputs else None

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The largest weights that the pattern can keep."""
        assert isinstance(site, FactorSite)
        weight = self.project(site.weight)
        refusal = (
            why_not_here(site, context)
            or site.why_not_approximated(on_data=context.layerwise is not None)
            or _why_nothing(site.weight, weight)
        )
        if refusal:
            yield Declined(site.name, refusal)
            return
        zeros = round(float(1 - np.count_nonzero(weight) / weight.size), 4)
        told = {"pattern": self.options.pattern.replace("n:", f"{self._kept}:"), "zeros": zeros}
        yield candidate(self.name, site, reweighted(site, context, weight, told, "pruned"), context)

    def fitted(self, site: FactorSite, candidate_: Candidate, problem: LayerProblem, context: Context) -> Candidate:
        """As many zeros in the same pattern, by the solver."""
        if self.options.solver == "admm":
            norm, rough = problem.norm(), problem.rough
            weight = prune(problem.weight, problem.damped, self.project, norm=norm, rough=rough)
        else:
            weight = self.project(site.weight).astype(np.float64)
        if self.options.solver == "statistics":
            weight *= problem.scale(weight).reshape(-1, *(1,) * (weight.ndim - 1))
        weight = as_stored(weight)
        draft = reweighted(site, context, weight, candidate_.options, "pruned", problem.bias(weight))
        return candidate(self.name, site, draft, context, problem=problem)

    @property
    def _kept(self) -> int:
        """The n of n:16."""
        return max(1, round((1 - self.options.sparsity) * WINDOW))

    @property
    def project(self) -> Projection:
        """From a weight to its largest numbers that the pattern can keep."""
        pattern, sparsity = self.options.pattern, self.options.sparsity
        if pattern in _BLOCKS:
            return projections.blocks(sparsity, *_BLOCKS[pattern])
        if pattern == "n:16":
            return projections.windows(self._kept)
        return _SINGLE[pattern](sparsity)


def _why_nothing(before: NDArray[np.floating], after: NDArray[np.floating]) -> str | None:
    """Why a weight with these zeros is none to propose, or None."""
    if not after.any():
        return "it is so small that nothing would be left of it"
    return "it has such zeros already, or is too small for one" if np.array_equal(before, after) else None
