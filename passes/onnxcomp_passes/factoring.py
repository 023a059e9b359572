"""What the passes that factor layers share: their options, and how many bases a weight needs."""

from collections.abc import Sequence
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onnxcomp.numerics import kronecker, shared_basis
from onnxcomp.numerics.spectrum import tail_energies
from onnxcomp_passes.stand_in import StandInOptions

Solver = Literal["als", "whitened", "svd"]


class FactoringOptions(StandInOptions):
    """Options of kronecker and penni."""

    max_error: float | None = Field(
        None, ge=0, lt=1, description="relative L2 error a layer's weight may have; 0 is structure in the weights only"
    )
    solver: Solver = Field(
        "als", description="how factors are fitted to data: alternating least squares, one whitened SVD, or not at all"
    )
    statistics: bool = Field(
        False, description="scale each output of a layer so that it varies on the data as it did, whatever the solver"
    )
    when: Literal["faster", "always"] = Field("faster", description="rewrite where measured faster, or everywhere")


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
