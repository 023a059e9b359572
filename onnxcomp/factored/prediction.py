"""A cheap rule for what the two layers of a Kronecker product take, to choose what is worth measuring.

In multiply-adds as a large dense Conv does them. Output channels are computed in blocks of 16, and a block or two alone
do not fill the machine: 16 take as long as 24 should. A number that a Reshape, Transpose or product only carries from
one place to another costs as much as 24 multiply-adds. A number of a fully connected layer's weight takes as long to be
read as 8 rows of its input take to be multiplied with it.
"""

from collections.abc import Callable, Sequence
from math import inf, prod

from onnxcomp.factored.linear import a_first
from onnxcomp.factored.target import Target
from onnxcomp.numerics.kronecker import KroneckerShape

Cost = Callable[[KroneckerShape, int], float]
"""What factors of a shape and rank take by the rule, as a share of what the dense layer does."""

_BLOCK = 16
_START = 8  # output channels' worth of work that every pass over the input takes besides
_MACS_PER_MOVE = 24
_ROWS_PER_READ = 8


def conv_cost(target: Target, pixels: tuple[int, ...]) -> Cost:
    """For a Conv on maps of `pixels` along every axis."""
    dense = _dense(target, pixels)
    return lambda shape, rank: _factored(target, shape, rank, pixels) / dense if dense else inf


def linear_cost(weight_shape: Sequence[int], rows: int) -> Cost:
    """For a fully connected layer of a weight (N, K) on `rows` rows of K numbers."""
    N, K = weight_shape

    def cost(shape: KroneckerShape, rank: int) -> float:
        f1, f2, c1, c2 = shape.f1, shape.f2, shape.c1, shape.c2
        if a_first(shape):
            first = _linear(rows, c1, f1 * rank) if c2 == 1 else _from_left(rows, f1 * rank, c1, c2)
            return (first + _linear(rows * f1, rank * c2, f2)) / dense
        second = _linear(rows, c1 * rank, f1) if f2 == 1 else _from_left(rows, f1, c1 * rank, f2)
        return (_linear(rows * c1, c2, rank * f2) + second) / dense

    dense = _linear(rows, K, N)
    return cost


def _from_left(count: int, outputs: int, inputs: int, columns: int) -> int:
    """A weight by `count` matrices of `columns`, which are copied to be multiplied."""
    products = outputs * inputs * (count * _channels(columns) + _ROWS_PER_READ)
    return products + _MACS_PER_MOVE * count * columns * (inputs + outputs)


def _linear(rows: int, inputs: int, outputs: int) -> int:
    return inputs * (rows * _channels(outputs) + _ROWS_PER_READ * outputs)


def _dense(target: Target, pixels: tuple[int, ...]) -> float:
    weight, group = target.convolution.weight, target.convolution.group
    out = target.geometry.output(pixels, target.kernel)
    return _conv(out, group, weight.shape[0] // group, prod(weight.shape[1:]))


def _factored(target: Target, shape: KroneckerShape, rank: int, pixels: tuple[int, ...]) -> float:
    """Of all groups together."""
    group, axes = target.convolution.group, len(pixels)
    ka, kb = shape.a[-axes:], shape.b[-axes:]
    of_a, of_b = target.geometry.split(ka, kb)
    inner = of_b.output(pixels, kb)
    out = of_a.output(inner, ka)
    cost = _conv(inner, group * shape.c1, rank * shape.f2, shape.c2 * prod(kb))
    terms = shape.c1 * rank
    if shape.c1 > 1:  # both are moved between ORT's blocks of channels and planes, for the slices go into the batch
        cost += 2 * _MACS_PER_MOVE * shape.c1 * shape.c2 * _pixels(pixels)
    if shape.f2 == 1:
        through = 2 * _MACS_PER_MOVE * _pixels(inner) * terms if shape.c1 > 1 else 0
        return cost + _conv(out, group, shape.f1, terms * prod(ka)) + through
    moved = group * shape.f2 * (_pixels(inner) * terms + 2 * _pixels(out) * shape.f1)
    if prod(ka) == 1:
        return cost + _pixels(out) * group * shape.f2 * shape.f1 * terms + _MACS_PER_MOVE * moved
    return cost + _conv(out, shape.f2, shape.f1, terms * prod(ka)) + 2 * _MACS_PER_MOVE * moved


def _conv(out: tuple[int | None, ...], times: int, channels: int, products: int) -> float:
    """`times` convolutions to `channels` maps of `out`, `products` multiply-adds for each number."""
    return times * _pixels(out) * _channels(channels) * products


def _channels(count: int) -> int:
    """How many of a large layer's output channels take as long as `count` alone do."""
    return -(-count // _BLOCK) * _BLOCK + _START


def _pixels(size: tuple[int | None, ...]) -> int:
    return prod(max(pixels or 0, 0) for pixels in size)
