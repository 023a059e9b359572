"""Random convolutions to be factored, as fragments, and what ONNX Runtime makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnxcomp.convolution import Convolution
from onnxcomp.factored.geometry import Geometry
from onnxcomp.factored.target import Target
from onnxcomp.fragment import Fragment
from onnxcomp.runtime.session import run, session

_OPSET = 13


@dataclass(frozen=True)
class Walk:
    """How a Conv walks: one entry for each axis, pads before and after."""

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    @property
    def attributes(self) -> dict[str, list[int]]:
        return {"strides": [*self.strides], "dilations": [*self.dilations], "pads": [*self.pads]}


def walks(axes: int) -> st.SearchStrategy[Walk]:
    small = st.tuples(*[st.integers(1, 3)] * axes)
    return st.builds(Walk, small, small, st.tuples(*[st.integers(0, 2)] * (2 * axes)))


@st.composite
def sizes_for(draw: st.DrawFn, kernel: Sequence[int], walk: Walk) -> tuple[int, ...]:
    """A map on which the kernel fits, with up to 4 pixels more."""
    axes = len(kernel)
    reach = [
        e * (k - 1) + 1 - sum(walk.pads[i::axes]) for i, (k, e) in enumerate(zip(kernel, walk.dilations, strict=True))
    ]
    return tuple(max(needed, 1) + draw(st.integers(0, 4)) for needed in reach)


def target_of(
    weight: NDArray[np.float32], group: int, walk: Walk, size: Sequence[int], bias: bool, known: bool
) -> Target:
    """The Conv of x by `weight`; `known`: the size of the map is."""
    attributes = {**walk.attributes, "group": group}
    constants = {"w": weight, "b": np.linspace(-1, 1, len(weight), dtype=np.float32)} if bias else {"w": weight}
    conv = helper.make_node("Conv", ["x", *constants], ["y"], "conv", **attributes)
    fragment = Fragment((conv,), constants, ("x",), ("y",))
    convolution = Convolution(weight, constants.get("b"), attributes, group)
    map_size = tuple(size) if known else (None,) * len(size)
    geometry = Geometry.of(convolution, map_size)
    assert isinstance(geometry, Geometry)
    return Target(fragment, convolution, geometry, map_size)


def assert_equal(before: Fragment, after: Fragment, x: NDArray[np.float32], depth: int) -> None:
    """The same outputs, to what sums of some `depth` float32 products of standard normal size may round to."""
    want, got = (_run(fragment, x) for fragment in (before, after))
    assert got.shape == want.shape
    # Every partial sum is off by half an ulp; the factored sums are of two levels, their terms no larger than `scale`.
    scale = max(float(np.abs(want).max(initial=0)), float(depth))
    np.testing.assert_allclose(got, want, rtol=0, atol=2 * depth * np.finfo(np.float32).eps * scale)


def _run(fragment: Fragment, x: NDArray[np.float32]) -> NDArray[np.float32]:
    free = [len(x), *x.shape[1:]]
    model = fragment.model({"x": tuple(free)}, {"y": TensorProto.FLOAT}, _OPSET)
    (result,) = run(session(model.SerializeToString(), 1), {"x": x})
    return np.asarray(result)
