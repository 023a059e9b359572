"""Weight unification: which blocks are fixed, how far from the weight they come out, on data and without."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxcomp.numerics.blocks import Block
from onnxcomp.numerics.moments import energy, weighted_error
from onnxcomp.numerics.unification import MicroStructure, as_stored, projection, split, unify
from onnxcomp.numerics.unified_refit import Kind
from tests.numerics.oracle import random_moment

SHAPE = (8, 8, 3)
BLOCKS = ["4x4", "8x1", "1x8", "4x1", "8x8", "2x2x3"]


def problem(shape: tuple[int, ...] = SHAPE, seed: int = 0, decay: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape), random_moment(int(np.prod(shape[1:])), rng, decay)


def structure(
    block: str = "4x4", levels: tuple[float, ...] = (1.0,), unified: float = 1.0, pruned: float = 0.0
) -> MicroStructure:
    return MicroStructure(Block.parse(block), levels, unified, pruned)


def kinds_of(weight: np.ndarray, block: Block) -> list[Kind]:
    """The kind of each block of a weight, by its values alone."""
    cut = np.abs(block.cut(weight)).reshape(-1, block.size)
    one = [len(np.unique(np.round(part / (part.max() or 1), 6))) == 1 for part in cut]
    zero = [not part.any() for part in cut]
    return [Kind.ZERO if a else Kind.UNIFIED if b else Kind.FREE for a, b in zip(zero, one, strict=True)]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(("unified", "pruned"), [(0.5, 0.0), (0.25, 0.5), (0.0, 0.3), (0.7, 0.3), (1.0, 0.0)])
def test_shares_are_as_asked(block: str, unified: float, pruned: float) -> None:
    weight, moment = problem()
    wanted = structure(block, unified=unified, pruned=pruned)
    blocks = weight.size // wanted.block.size
    for found in (
        split(weight, wanted).weight(SHAPE),
        unify(weight, moment, wanted, iterations=10),
        unify(weight, moment, wanted, np.float16, iterations=10, rounds=2),
    ):
        kinds = kinds_of(found, wanted.block)
        assert kinds.count(Kind.ZERO) == round(pruned * blocks)
        assert kinds.count(Kind.FREE) == blocks - round((unified + pruned) * blocks)


@pytest.mark.parametrize(("unified", "pruned"), [(0.5, 0.0), (0.25, 0.5), (1.0, 0.0)])
def test_a_rough_one_is_not_much_farther(unified: float, pruned: float) -> None:
    weight, moment = problem()
    wanted = structure(unified=unified, pruned=pruned)
    near, rough = (energy(weight - unify(weight, moment, wanted, rough=rough), moment) for rough in (False, True))
    assert near < rough < 1.5 * near


def test_fixes_what_loses_least() -> None:
    weight, moment = problem()
    block = Block(4, 4)
    cut = block.cut(weight)
    m = np.abs(cut).mean(axis=(2, 3), keepdims=True)
    columns = block.columns(SHAPE)
    for norm in (None, moment):
        found = split(weight, structure(unified=0.3, pruned=0.3), norm)
        losses = {Kind.UNIFIED: np.zeros(found.kinds.shape), Kind.ZERO: np.zeros(found.kinds.shape)}
        for kind, D in ((Kind.UNIFIED, cut - m * np.sign(cut)), (Kind.ZERO, cut)):
            for r, c in np.ndindex(found.kinds.shape):
                S = np.eye(4) if norm is None else norm[np.ix_(columns[c], columns[c])]
                losses[kind][r, c] = np.trace(D[r, c] @ S @ D[r, c].T)
        rest = found.kinds != Kind.ZERO
        assert losses[Kind.ZERO][~rest].max() <= losses[Kind.ZERO][rest].min()
        unified, free = (losses[Kind.UNIFIED][found.kinds == kind] for kind in (Kind.UNIFIED, Kind.FREE))
        assert unified.max() <= free.min()


def test_a_smaller_share_is_part_of_a_larger() -> None:
    weight, _ = problem((16, 16, 3))
    before = split(weight, structure(unified=0.0)).kinds
    for share in (0.1, 0.4, 0.9, 1.0):
        kinds = split(weight, structure(unified=share)).kinds
        assert (kinds[before == Kind.UNIFIED] == Kind.UNIFIED).all()
        before = kinds


def test_held_blocks_stay() -> None:
    weight, _ = problem()
    held = split(weight, structure(unified=0.2, pruned=0.2)).kinds
    found = split(-3 * weight[::-1], structure(unified=0.5, pruned=0.4), held=held).kinds
    assert (found[held != Kind.FREE] == held[held != Kind.FREE]).all()


def test_the_projection_is_one() -> None:
    weight, _ = problem()
    for wanted in (structure(unified=0.5, pruned=0.2), structure(levels=(1.0, 0.5, 0.0))):
        once = projection(wanted)(weight.astype(np.float32))
        assert once.dtype == np.float32
        np.testing.assert_allclose(projection(wanted)(once), once, rtol=1e-6)


def test_a_share_of_nothing_is_the_weight() -> None:
    weight, moment = problem()
    none = structure(unified=0.0)
    np.testing.assert_array_equal(split(weight, none).weight(SHAPE), weight)
    np.testing.assert_allclose(unify(weight, moment, none, iterations=5), weight, rtol=1e-6)


@settings(max_examples=15)
@given(
    st.integers(0, 1000),
    st.sampled_from(BLOCKS[:4]),
    st.sampled_from([(1.0,), (1.0, 0.5, 0.0)]),
    st.sampled_from([(1.0, 0.0), (0.5, 0.2)]),
    st.integers(1, 2),
)
def test_never_worse_than_the_plain_projection(
    seed: int, block: str, levels: tuple[float, ...], shares: tuple[float, float], groups: int
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((8 * groups, 8, 1))
    moments = np.stack([random_moment(8, rng) for _ in range(groups)])
    moment = moments if groups > 1 else moments[0]
    wanted = structure(block, levels, *shares)
    plain = split(weight, wanted, moment).weight(weight.shape)
    found = unify(weight, moment, wanted, iterations=10)
    assert energy(weight - found, moment) <= energy(weight - plain, moment) * (1 + 1e-4)


@pytest.mark.parametrize("levels", [(1.0,), (1.0, 0.5, 0.0)])
@pytest.mark.parametrize("unified", [1.0, 0.5])
def test_data_helps(levels: tuple[float, ...], unified: float) -> None:
    weight, moment = problem((16, 16, 3))
    wanted = structure(levels=levels, unified=unified)
    plain, refitted, found = (
        weighted_error(weight, other, moment)
        for other in (
            split(weight, wanted).weight(weight.shape),
            unify(weight, moment, wanted, iterations=0),
            unify(weight, moment, wanted, np.float16),
        )
    )
    assert found < 0.9 * refitted < 0.6 * plain


def test_the_same_each_time() -> None:
    weight, moment = problem()
    wanted = structure(unified=0.5, pruned=0.2)
    first = unify(weight, moment, wanted, iterations=10)
    np.testing.assert_array_equal(first, unify(weight, moment, wanted, iterations=10))


def test_a_weight_that_is_unified_is_found_again() -> None:
    weight, moment = problem()
    already = split(weight, structure()).weight(SHAPE)
    np.testing.assert_allclose(unify(already, moment, structure(), iterations=5), already, rtol=1e-4)


def test_inputs_that_are_always_zero() -> None:
    weight, moment = problem()
    moment[:12] = 0
    moment[:, :12] = 0
    found = unify(weight, moment, structure(unified=0.5, pruned=0.25), iterations=10)
    assert np.isfinite(found).all()
    assert np.isfinite(unify(weight, np.zeros_like(moment), structure(), iterations=10)).all()


def test_magnitudes_are_as_stored() -> None:
    weight, moment = problem()
    levels = (1.0, 0.75, 0.0)
    found = unify(1e-3 * weight, moment, structure(levels=levels), np.float16, iterations=10)
    cut = np.abs(Block(4, 4).cut(found)).reshape(-1, 16)
    m = cut.max(axis=1, keepdims=True)
    m = np.where(m == m.astype(np.float16), m, (m / 0.75))
    np.testing.assert_array_equal(m, m.astype(np.float16))
    assert ((cut == m) | (cut == np.float32(0.75) * m) | (cut == 0)).all()


def test_magnitudes_that_do_not_fit() -> None:
    weight, _ = problem()
    for scale in (1e-7, 1e6):
        found = split(scale * weight, structure())
        with pytest.raises(ValueError, match="do not fit float16"):
            as_stored(found, (1.0,), np.float16)
        np.testing.assert_allclose(as_stored(found, (1.0,), np.float32).scales, found.scales, rtol=1e-5)
    weight[:4, :4] *= 1e-6
    small = as_stored(split(weight, structure()), (1.0,), np.float16)
    assert (small.kinds == Kind.ZERO).sum() == 3 and not small.weight(SHAPE)[:4, :4].any()


@pytest.mark.parametrize(("unified", "pruned"), [(0.6, 0.6), (-0.1, 0.5), (float("nan"), 0.0)])
def test_refuses_shares_that_are_none(unified: float, pruned: float) -> None:
    with pytest.raises(ValueError, match="shares"):
        structure(unified=unified, pruned=pruned)
