"""tail_energies: the errors that truncated SVDs leave."""

import numpy as np
import pytest

from onnxcomp.numerics.low_rank import truncated_svd
from onnxcomp.numerics.spectrum import tail_energies


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (1, 4)])
def test_tails_are_the_errors_of_the_truncated_svd(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).standard_normal(shape)
    tails = tail_energies(matrix)
    assert len(tails) == min(shape) + 1
    assert tails[0] == pytest.approx(np.sum(matrix**2))
    for rank in range(1, min(shape) + 1):
        left, right = truncated_svd(matrix, rank)
        assert tails[rank] == pytest.approx(np.sum((matrix - left @ right) ** 2), abs=1e-12)
