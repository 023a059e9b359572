"""penni: compute a Conv whose kernels are combinations of a few shared ones by those few.

    Conv(X, W, b), W[o, i] = sum over j < d of C[o, i, j] B_j
      becomes  sum over j of Conv1x1(depthwise(X, B_j), C_j) + b
      or       sum over j of depthwise(Conv1x1(X, C_j), B_j) + b
      or       ai.onnxcomp::BasisConv[Add][activation](X, bases, mask, values, b [, Z]), where C is mostly zeros

(onnxcomp/factored/shared_basis.py, onnxcomp/formats/basis_conv.py; Li et al., PENNI: Pruned Kernel Sharing for
Efficient CNN Inference, ICML 2020, section 3). Applies to 1-D and 2-D float32 convolutions with a constant weight, any
strides, pads, dilations and groups; only where a form is measured faster than ONNX Runtime's dense Conv here, unless
`when=always`.

Without options only kernels that share d < kh * kw bases already are rewritten, which is exact. With `d` every layer
gets d bases, with `max_error` as few as keep the weight's relative L2 error at or below it; `sparsity` then leaves out
the smallest coefficients. Such a layer computes with another weight, by the error that its candidate tells.

`form=merged` keeps the dense Conv and gives it the approximated weight: zero coefficients are zero kernels there, for
passes behind this one. Never touches 1x1 and depthwise convolutions, nor those inside If, Loop or Scan bodies.
"""

from collections.abc import Iterable
from math import prod
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onnxcomp.context import Context
from onnxcomp.convolution import Convolution
from onnxcomp.factored.shared_basis import basis_first, coefficient_first, merged
from onnxcomp.formats.functions import MIN_OPSET
from onnxcomp.fragment import Fragment
from onnxcomp.layerwise import LayerProblem
from onnxcomp.numerics import shared_basis
from onnxcomp.numerics.projections import zeros as zeros_of
from onnxcomp.numerics.shared_basis import Decomposition
from onnxcomp.numerics.sparse_coefficients import prune_coefficients
from onnxcomp.pass_api import Candidate, Declined, Site
from onnxcomp_passes.basis_conv import fused
from onnxcomp_passes.conv_sites import ConvSite
from onnxcomp_passes.factor_sites import FactorSite
from onnxcomp_passes.factoring import FactoringOptions, Solver, basis_errors, few_bases
from onnxcomp_passes.layers import CONVOLUTIONS
from onnxcomp_passes.stand_in import EXACT, Draft, StandInPass, as_stored, candidate, relative_error, why_not_here

Form = Literal["auto", "basis", "coefficient", "fused", "merged"]
_STANDARD = MappingProxyType({"basis": basis_first, "coefficient": coefficient_first, "merged": merged})
_FEW = 0.3  # zeros from which on the operator for sparse coefficients is tried


class PenniOptions(FactoringOptions):
    """Options of penni."""

    d: int | None = Field(None, ge=1, description="bases a layer shares; without it as few as max_error allows")
    sparsity: float = Field(0.0, ge=0, lt=1, description="share of each layer's coefficients to leave out")
    form: Form = Field("auto", description="which convolution comes first; auto: whichever is measured faster")


class Penni(StandInPass):
    """Compute convolutions by the few kernels that theirs are combinations of."""

    name = "penni"
    summary = "compute convolutions by the few kernels that theirs are combinations of"
    Options = PenniOptions
    min_opset = MIN_OPSET
    options: PenniOptions
    readers = CONVOLUTIONS

    def why_not(self, site: FactorSite) -> str | None:
        """Why the kernels do not share few enough bases, or None."""
        bases = self._bases(site.convolution) if isinstance(site, ConvSite) else "it is no convolution"
        return bases if isinstance(bases, str) else None

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The forms, timed against the dense Conv."""
        assert isinstance(site, ConvSite)
        d = self._bases(site.convolution)
        refusal = d if isinstance(d, str) else why_not_here(site, context)
        if refusal or isinstance(d, str):
            yield Declined(site.name, str(refusal))
            return
        coefficients, bases = factors_of(site.convolution.weight, d, self.options.sparsity)
        weight = shared_basis.reconstruct(coefficients, bases)
        error, allowed = relative_error(site.convolution.weight, weight), self.options.max_error
        if allowed is not None and error > max(allowed, EXACT):
            yield Declined(site.name, f"with zeros the relative error is {error:.3g}, more than {allowed:g}")
            return
        zeros = round(float(1 - np.count_nonzero(coefficients) / coefficients.size), 4)
        for form in self._forms(site, zeros, portable=context.portable):
            after, count = _emit(form, site, context, coefficients, bases)
            draft = Draft(after, weight, {"d": d, "sparsity": zeros, "form": form}, count)
            measured = self.options.when == "faster" and form != "merged"
            yield candidate(self.name, site, draft, context, measured=measured)

    def fitted(self, site: FactorSite, candidate_: Candidate, problem: LayerProblem, context: Context) -> Candidate:
        """As many bases and zeros, nearest to W* in its norm."""
        assert isinstance(site, ConvSite)
        d, form = candidate_.options["d"], candidate_.options["form"]
        coefficients, bases = fitted_factors(problem, d, self.options.sparsity, self.options.solver)
        if self.options.statistics:
            scale = problem.scale(shared_basis.reconstruct(coefficients, bases))
            coefficients = as_stored(coefficients * scale[:, None, None])
        weight = shared_basis.reconstruct(coefficients, bases)
        bias = problem.bias(weight)
        after, count = _emit(form, site.with_bias(bias), context, coefficients, bases)
        draft = Draft(after, weight, candidate_.options, count, bias)
        return candidate(self.name, site, draft, context, problem=problem)

    def _bases(self, convolution: Convolution) -> int | str:
        """d of a layer, or why it does not pay or is not allowed."""
        weight, options = convolution.weight, self.options
        pixels = prod(weight.shape[2:])
        if pixels == 1:
            return "its kernels are single numbers"
        errors = basis_errors(weight)
        allowed = max(options.max_error or 0.0, EXACT)
        d = int(np.argmax(errors <= allowed)) if options.d is None else min(options.d, len(errors) - 1)
        if d >= pixels:
            return f"its kernels of {pixels} numbers are no combinations of fewer shared ones"
        if options.max_error is not None and errors[d] > allowed:
            return f"{d} bases leave a relative error of {errors[d]:.3g}, more than {options.max_error:g}"
        if options.when == "faster" and not few_bases(weight.shape, d) and not options.sparsity:
            return f"{d} bases take more multiply-adds than the dense layer"
        return d

    def _forms(self, site: ConvSite, zeros: float, *, portable: bool) -> list[Form]:
        """What to try. Coefficients go first only where they then work on no more pixels and channels."""
        if self.options.form != "auto":
            return [self.options.form]
        C_out, C_in = site.convolution.weight.shape[0], site.convolution.weight.shape[1] * site.convolution.group
        forms: list[Form] = ["fused"] if zeros >= _FEW and not portable else []
        if C_out <= C_in and set(site.geometry.strides) == {1}:
            forms.append("coefficient")
        forms.append("basis")
        return forms if self.options.when == "faster" else forms[:1]


def factors_of(weight: NDArray[np.floating], d: int, sparsity: float) -> Decomposition:
    """Coefficients C (C_out, C_in / group, d) and bases B (d, k...) of W (C_out, C_in / group, k...), as stored.

    The smallest coefficients, a share of `sparsity`, are zero.
    """
    coefficients, bases = (as_stored(part) for part in shared_basis.decompose(weight, d))
    dropped = np.argsort(np.abs(coefficients), axis=None, kind="stable")[: round(sparsity * coefficients.size)]
    coefficients.ravel()[dropped] = 0
    return coefficients, bases


def fitted_factors(problem: LayerProblem, d: int, sparsity: float, solver: Solver) -> Decomposition:
    """The same for W* in the norm of its layer's input."""
    if solver == "svd":
        return factors_of(problem.weight, d, sparsity)
    sweeps = problem.sweeps if solver == "als" else 0
    found = problem.shared_basis(d, sweeps)
    if sparsity:
        pattern = zeros_of(sparsity)
        found = prune_coefficients(problem.weight, found, problem.moment, pattern, rough=problem.rough)
    coefficients, bases = (as_stored(part) for part in found)
    return coefficients, bases


def _emit(
    form: Form, site: ConvSite, context: Context, coefficients: NDArray[np.floating], bases: NDArray[np.floating]
) -> tuple[Fragment, int]:
    """The fragment, and how many of the nodes fused into the Conv it stands for."""
    if form == "fused":
        return fused(site, context, coefficients, bases)
    target = site.target(context.model)
    return _STANDARD[form](target, coefficients, bases), 1
