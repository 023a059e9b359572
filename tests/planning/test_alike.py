"""What takes the same time is measured once: names and values do not count, zeros do where an operator knows them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from onnxcomp.alike import work_of
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.fragment import Fragment

RNG = np.random.default_rng(0)
W = RNG.standard_normal((4, 3)).astype(np.float32)
ZEROS = np.where(np.abs(W) > 0.5, W, 0).astype(np.float32)


def fragment(w: NDArray[Any], x: str = "x", domain: str = "", **attributes: int) -> Fragment:
    node = helper.make_node("MatMul", [x, f"{x}_w"], [f"{x}_y"], name=f"node of {x}", domain=domain, **attributes)
    return Fragment((node,), {f"{x}_w": w}, (x,), (f"{x}_y",))


def work(one: Fragment, shapes: Mapping[str, tuple[int, ...]] | None = None) -> str:
    return work_of(one, shapes or {one.inputs[0]: (2, 4)}, {})


def test_names_and_values_do_not_count() -> None:
    assert work(fragment(W)) == work(fragment(2 * W, "other")) == work(fragment(ZEROS))


def test_shapes_types_and_attributes_do() -> None:
    others = [
        work(fragment(W[:, :2])),
        work(fragment(W.astype(np.float16))),
        work(fragment(W, alpha=1)),
        work(fragment(W), {"x": (3, 4)}),
        work(fragment(W, domain=DOMAIN)),
    ]
    assert len({work(fragment(W)), *others}) == 1 + len(others)


@pytest.mark.parametrize("bits", [False, True])
def test_zeros_count_where_the_operator_is_ours(bits: bool) -> None:
    full, holes = (np.packbits(w != 0, bitorder="little") if bits else w for w in (W, ZEROS))
    moved = np.roll(holes, 1)
    ours = [work(fragment(one, domain=DOMAIN)) for one in (full, holes, moved)]
    assert ours[0] != ours[1] == ours[2]


def test_how_the_bits_lie_counts_too() -> None:
    spread, packed = np.tile(np.uint8([1, 1, 1, 1]), 64), np.tile(np.uint8([15, 0, 0, 0]), 64)
    assert work(fragment(spread, domain=DOMAIN)) != work(fragment(packed, domain=DOMAIN))


def test_indices_are_what_they_say() -> None:
    assert work(fragment(np.array([0, 1]))) != work(fragment(np.array([1, 0])))
