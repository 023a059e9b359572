"""What sparse-conv and sparse-gemm make of a layer once its weight has zeros."""

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onnxcomp.context import Context
from onnxcomp.pass_api import Candidate, Pass, Site
from onnxcomp_passes import sparse_conv, sparse_gemm
from onnxcomp_passes.conv_sites import ConvSite
from onnxcomp_passes.epilogue import Epilogue
from onnxcomp_passes.factor_sites import FactorSite
from onnxcomp_passes.linear_sites import LinearSite
from onnxcomp_passes.sparsity import SparseOptions


def sparse_form(
    site: FactorSite, weight: NDArray[np.floating], context: Context, when: Literal["faster", "always"]
) -> Candidate | None:
    """The sparse operator for the layer at `site` if it had `weight`, timed where `when` is faster.

    That for the pattern that its zeros have: what the one for zeros anywhere takes does not depend on how they lie.
    None where there is no such operator. Raises NotRunnable as `Context.measure` does.
    """
    one, behind = _sparse(site, weight.astype(np.float32), SparseOptions(when=when, min_zeros=0))
    return next((candidate for candidate in one.propose(behind, context) if isinstance(candidate, Candidate)), None)


def _sparse(site: FactorSite, weight: NDArray[np.float32], options: SparseOptions) -> tuple[Pass, Site]:
    """The pass for layers of that kind, and its site."""
    if isinstance(site, ConvSite):
        epilogue = Epilogue() if site.normalisation else site.epilogue
        convolution = replace(site.convolution, weight=weight)
        return (
            sparse_conv.SparseConv(options),
            sparse_conv.ConvSite((*site.nodes, *epilogue.nodes), convolution, epilogue),
        )
    assert isinstance(site, LinearSite), "there are no others"
    linear = replace(site.linear, weight=weight)
    return (
        sparse_gemm.SparseGemm(options),
        sparse_gemm.LinearSite((*site.nodes, *site.epilogue.nodes), linear, site.epilogue),
    )
