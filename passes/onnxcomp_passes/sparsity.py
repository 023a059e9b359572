"""What the passes that emit sparse operators share: their options, and which weights those operators can take."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onnxcomp.pass_api import PassOptions

MIN_ZEROS = 0.3  # share of a weight; with fewer the dense kernel is faster


class SparseOptions(PassOptions):
    """Options of sparse-conv and sparse-gemm."""

    when: Literal["faster", "always"] = Field("faster", description="rewrite where measured faster, or everywhere")
    min_zeros: float = Field(MIN_ZEROS, ge=0, le=1, description="share of zeros below which a layer is not tried")


def why_not_sparse(weight: NDArray[Any], options: SparseOptions) -> str | None:
    """Why no sparse operator takes `weight`, or None."""
    if weight.dtype != np.float32:
        return f"the weight is {weight.dtype}, the kernel computes in float32"
    if not np.isfinite(weight).all():
        return "the weight holds NaN or Inf"
    zeros = 1 - np.count_nonzero(weight) / weight.size
    if zeros < options.min_zeros:
        return f"{zeros:.1%} zeros; below {options.min_zeros:.0%} the dense kernel is faster"
    return None
