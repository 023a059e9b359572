"""Random convolutions to be factored, as fragments, and what ONNX Runtime makes of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper

from onnxcomp.convolution import Convolution
from onnxcomp.factored.geometry import Geometry
from onnxcomp.factored.target import Target
from onnxcomp.fragment import Fragment
from onnxcomp.runtime.session import run, session

_OPSET = 13


@dataclass(frozen=True)
class Walk:
    """How a Conv walks: one entry for each axis; pads before every axis, then behind."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """A Conv and an input that it fits on."""

    target: Target
    x: NDArray[np.float32]


def walks(axes: int) -> st.SearchStrategy[Walk]:
    """Strides and dilations of 1 to 3, pads of 0 to 2."""
    small = st.tuples(*[st.integers(1, 3)] * axes)
    return st.builds(Walk, small, small, st.tuples(*[st.integers(0, 2)] * (2 * axes)))


@st.composite
def kinds(draw: st.DrawFn, weight: NDArray[np.float32], group: int) -> Case:
    """A Conv of `weight` with any walk, on a map of up to 4 pixels more than it needs, its size known or not."""
    kernel = weight.shape[2:]
    walk = draw(walks(len(kernel)))
    pads = [sum(walk.pads[axis :: len(kernel)]) for axis in range(len(kernel))]
    reach = [e * (k - 1) + 1 for k, e in zip(kernel, walk.dilations, strict=True)]
    size = tuple(max(r - p, 1) + draw(st.integers(0, 4)) for r, p in zip(reach, pads, strict=True))
    target = target_of(weight, group, walk, size, draw(st.booleans()), draw(st.booleans()))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.uniform(-1, 1, (draw(st.integers(1, 3)), weight.shape[1] * group, *size)).astype(np.float32)
    return Case(target, x)


def target_of(
    weight: NDArray[np.float32], group: int, walk: Walk, size: Sequence[int], bias: bool, known: bool, x: str = "x"
) -> Target:
    """y = Conv of `x` by `weight`; `known`: the size of the map is."""
    attributes = {**{name: list(values) for name, values in asdict(walk).items()}, "group": group}
    constants = {"w": weight}
    if bias:
        constants["b"] = np.linspace(-1, 1, len(weight), dtype=np.float32)
    conv = helper.make_node("Conv", [x, *constants], ["y"], "conv", **attributes)
    convolution = Convolution(weight, constants.get("b"), attributes, group)
    map_size = tuple(size) if known else (None,) * len(size)
    geometry = Geometry.of(convolution, map_size)
    assert isinstance(geometry, Geometry)
    return Target(Fragment((conv,), constants, (x,), ("y",)), convolution, geometry, map_size)


def assert_equal(target: Target, after: Fragment, x: NDArray[np.float32], products: int) -> None:
    """The same output to rounding, of weights and of sums, where a pixel sums `products` of factors up to 1."""
    want, got = (_run(fragment, x) for fragment in (target.fragment, after))
    assert got.shape == want.shape
    # Each of the products is off by a few half-ulps of the largest partial sum, itself at most their number.
    np.testing.assert_allclose(got, want, rtol=0, atol=8 * np.finfo(np.float32).eps * (products + 1) ** 2)


def _run(fragment: Fragment, x: NDArray[np.float32]) -> NDArray[np.float32]:
    model = fragment.model({fragment.inputs[0]: x.shape}, {}, _OPSET)
    (result,) = run(session(model.SerializeToString(), 1), {fragment.inputs[0]: x})
    return np.asarray(result)
