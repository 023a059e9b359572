"""How a Conv walks over its input, spelled out axis by axis, and how two convolutions in a row share that walk.

A kernel of size a * b that is a product of one of size a and one of size b convolves with b first, then with a dilated
by b (Hameed et al., AAAI 2022, section 3). Per axis, of stride s and dilation e:

    a = 1         b takes everything                        the second pass then reads fewer pixels
    b = 1         a takes everything                        zeros around the input are zeros around what b makes of it
    otherwise     b takes the pads and dilation e, a the stride and dilation e * b
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxcomp.convolution import Convolution

MapSize = tuple[int | None, ...]
"""Pixels along every spatial axis, None where they differ from input to input."""


@dataclass(frozen=True)
class Geometry:
    """Strides, pads (before, after) and dilations, one for each spatial axis."""

    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilations: tuple[int, ...]

    @classmethod
    def of(cls, convolution: Convolution, map_size: MapSize) -> "Geometry | str":
        """Of a Conv on maps of `map_size`, or the reason it is not known."""
        kernel, given = convolution.weight.shape[2:], convolution.attributes
        axes = len(kernel)
        if tuple(_integers(given, "kernel_shape", kernel)) != kernel:
            return f"kernel_shape is {given['kernel_shape']}, the weight's is {list(kernel)}"
        strides = _integers(given, "strides", (1,) * axes)
        dilations = _integers(given, "dilations", (1,) * axes)
        pads = _integers(given, "pads", (0,) * (2 * axes))
        if not len(strides) == len(dilations) == len(map_size) == axes or len(pads) != 2 * axes:
            return f"strides, dilations and pads are not those of {axes} spatial axes"
        if min(*strides, *dilations) < 1 or min(pads) < 0:
            return "strides and dilations must be positive, pads not negative"
        found = cls(strides, tuple(zip(pads[:axes], pads[axes:], strict=True)), dilations)
        auto_pad = str(given.get("auto_pad", "NOTSET"))
        return found if auto_pad == "NOTSET" else found._auto_padded(auto_pad, kernel, map_size)

    def attributes(self, kernel: Sequence[int], group: int = 1) -> dict[str, Any]:
        """As a Conv has them."""
        before, after = zip(*self.pads, strict=True)
        return {
            "kernel_shape": list(kernel),
            "strides": list(self.strides),
            "pads": [*before, *after],
            "dilations": list(self.dilations),
            "group": group,
        }

    def output(self, map_size: MapSize, kernel: Sequence[int]) -> MapSize:
        """The size of what a Conv of `kernel` makes of maps of `map_size`."""
        return tuple(
            None if size is None else (size + sum(pads) - dilation * (k - 1) - 1) // stride + 1
            for size, k, stride, pads, dilation in zip(
                map_size, kernel, self.strides, self.pads, self.dilations, strict=True
            )
        )

    def split(self, a: Sequence[int], b: Sequence[int]) -> tuple["Geometry", "Geometry"]:
        """The geometries of the convolution with the kernel of size `a`, which comes second, and of that with `b`."""
        still = (1, (0, 0), 1)
        firsts, seconds = [], []
        for size_a, size_b, stride, pads, dilation in zip(a, b, self.strides, self.pads, self.dilations, strict=True):
            if size_a == 1:
                first, second = (stride, pads, dilation), still
            elif size_b == 1:
                first, second = still, (stride, pads, dilation)
            else:
                first, second = (1, pads, dilation), (stride, (0, 0), dilation * size_b)
            firsts.append(first)
            seconds.append(second)
        return Geometry(*zip(*seconds, strict=True)), Geometry(*zip(*firsts, strict=True))

    def _auto_padded(self, auto_pad: str, kernel: Sequence[int], map_size: MapSize) -> "Geometry | str":
        if auto_pad == "VALID":
            return Geometry(self.strides, ((0, 0),) * len(kernel), self.dilations)
        if auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
            return f"auto_pad is '{auto_pad}'"
        pads = []
        for size, k, stride, dilation in zip(map_size, kernel, self.strides, self.dilations, strict=True):
            if size is None and stride > 1:
                return f"auto_pad is {auto_pad} and the size of the map is not known"
            last = -(-(size or 1) // stride) * stride - stride  # where the last window starts
            total = max(last + dilation * (k - 1) + 1 - (size or 1), 0)
            less, more = total // 2, total - total // 2
            pads.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
        return Geometry(self.strides, tuple(pads), self.dilations)


def _integers(given: Mapping[str, object], name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    found = given.get(name)
    return tuple(int(value) for value in found) if isinstance(found, list | tuple) else default
