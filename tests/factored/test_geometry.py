"""Geometry: pads that ONNX leaves implicit, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.convolution import Convolution
from onnxcomp.factored.geometry import Geometry, MapSize
from tests.factored.convs import Walk, walks


def of(size: MapSize, kernel: int = 3, **attributes: object) -> Geometry | str:
    weight = np.ones((1, 1, *[kernel] * len(size)), np.float32)
    return Geometry.of(Convolution(weight, None, attributes, 1), size)


@pytest.mark.parametrize(
    ("size", "stride", "upper", "lower"),
    [(7, 1, (1, 1), (1, 1)), (8, 2, (0, 1), (1, 0)), (7, 2, (1, 1), (1, 1)), (None, 1, (1, 1), (1, 1))],
)
def test_same_padding(size: int | None, stride: int, upper: tuple[int, int], lower: tuple[int, int]) -> None:
    for name, pads in (("SAME_UPPER", upper), ("SAME_LOWER", lower)):
        found = of((size,), auto_pad=name, strides=[stride])
        assert isinstance(found, Geometry)
        assert found.pads == (pads,)


def test_valid_padding_is_none() -> None:
    assert of((None, 5), auto_pad="VALID") == Geometry((1, 1), ((0, 0),) * 2, (1, 1))


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"auto_pad": "SAME_UPPER", "strides": [2]}, "the size of the map is not known"),
        ({"auto_pad": "ODD"}, "auto_pad is 'ODD'"),
        ({"kernel_shape": [5]}, "kernel_shape is"),
        ({"strides": [1, 1]}, "are not those of 1 spatial axes"),
        ({"pads": [1]}, "are not those of 1 spatial axes"),
        ({"strides": [0]}, "must be positive"),
        ({"pads": [-1, 0]}, "not negative"),
    ],
)
def test_refuses_what_it_cannot_spell_out(attributes: dict[str, object], reason: str) -> None:
    found = of((None,), **attributes)
    assert isinstance(found, str) and reason in found


@given(walk=walks(1), a=st.integers(1, 3), b=st.integers(1, 3), extra=st.integers(0, 5))
def test_both_halves_give_the_size_that_the_whole_gives(walk: Walk, a: int, b: int, extra: int) -> None:
    whole = Geometry(walk.strides, (walk.pads,), walk.dilations)  # type: ignore[arg-type]
    size = (walk.dilations[0] * (a * b - 1) + 1 + extra,)
    of_a, of_b = whole.split((a,), (b,))
    assert of_a.output(of_b.output(size, (b,)), (a,)) == whole.output(size, (a * b,))
