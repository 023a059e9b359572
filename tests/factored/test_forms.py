"""Factored forms: equal to the dense Conv with the reconstructed weight, whatever its shape and walk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxcomp.factored import kronecker as emission
from onnxcomp.factored import shared_basis
from onnxcomp.numerics.kronecker import Factors, KroneckerShape, reconstruct
from tests.factored.convs import Walk, assert_equal, kinds, target_of

SMALL = st.integers(1, 3)
EXAMPLES = settings(max_examples=60)


def shapes(axes: int) -> st.SearchStrategy[KroneckerShape]:
    height = SMALL if axes == 2 else st.just(1)
    return st.builds(KroneckerShape, SMALL, SMALL, SMALL, SMALL, height, height, SMALL, SMALL)


@EXAMPLES
@given(data=st.data(), axes=st.sampled_from([1, 2]), rank=SMALL, group=st.integers(1, 2), seed=st.integers(0, 99))
def test_kronecker(data: st.DataObject, axes: int, rank: int, group: int, seed: int) -> None:
    shape = data.draw(shapes(axes).filter(lambda shape: emission.why_not(shape, group) is None))
    rng = np.random.default_rng(seed)
    terms = [Factors(*(rng.uniform(-1, 1, (rank, *part)) for part in (shape.a, shape.b))) for _ in range(group)]
    weight = np.concatenate([reconstruct(one) for one in terms]).astype(np.float32)
    case = data.draw(kinds(weight if axes == 2 else weight[:, :, 0], group))
    # B sums C2 * kb products, A the C1 * R * ka sums of those: as many as the dense Conv sums, for each term.
    assert_equal(case.target, emission.kronecker(case.target, terms), case.x, rank * weight[0].size)


@EXAMPLES
@given(data=st.data(), axes=st.sampled_from([1, 2]), d=SMALL, group=st.integers(1, 2), seed=st.integers(0, 99))
def test_shared_basis(data: st.DataObject, axes: int, d: int, group: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    c_out, c_in, *kernel = (data.draw(SMALL) for _ in range(2 + axes))
    coefficients, bases = rng.uniform(-1, 1, (c_out * group, c_in, d)), rng.uniform(-1, 1, (d, *kernel))
    weight = np.tensordot(coefficients, bases, axes=1).astype(np.float32)
    case = data.draw(kinds(weight, group))
    for form in (shared_basis.basis_first, shared_basis.coefficient_first, shared_basis.merged):
        assert_equal(case.target, form(case.target, coefficients, bases), case.x, d * weight[0].size)


def test_no_transpose_where_a_has_one_pixel() -> None:
    rng = np.random.default_rng(0)
    one = Factors(rng.standard_normal((2, 2, 3, 1, 1)), rng.standard_normal((2, 4, 5, 3, 3)))
    target = target_of(reconstruct(one).astype(np.float32), 1, Walk((1, 1), (1, 1), (1, 1, 1, 1)), (8, 8), True, True)
    ops = [node.op_type for node in emission.kronecker(target, [one]).nodes]
    assert ops == ["Reshape", "Conv", "Reshape", "MatMul", "Reshape", "Add"]


@pytest.mark.parametrize("shape", [KroneckerShape(2, 1, 2, 1, 1, 3, 1, 3), KroneckerShape(2, 2, 1, 2, 3, 1, 3, 1)])
def test_refuses_groups_that_have_no_form(shape: KroneckerShape) -> None:
    assert emission.why_not(shape, 1) is None
    assert emission.why_not(shape, 2)
    terms = [Factors(np.ones((1, *shape.a)), np.ones((1, *shape.b)))] * 2
    weight = np.concatenate([reconstruct(one) for one in terms]).astype(np.float32)
    target = target_of(weight, 2, Walk((1, 1), (1, 1), (0, 0, 0, 0)), (4, 4), False, True)
    with pytest.raises(ValueError, match="no such form"):
        emission.kronecker(target, terms)


def test_new_names_keep_clear_of_those_at_the_border() -> None:
    rng = np.random.default_rng(0)
    one = Factors(rng.standard_normal((2, 4, 1, 1, 1)), rng.standard_normal((2, 1, 3, 3, 3)))
    target = target_of(
        reconstruct(one).astype(np.float32), 1, Walk((1, 1), (1, 1), (0, 0, 0, 0)), (5, 5), True, True, x="y_b"
    )
    after = emission.kronecker(target, [one])
    assert after.inputs == ("y_b",)
    assert [name for node in after.nodes for name in node.output].count("y_b") == 0
