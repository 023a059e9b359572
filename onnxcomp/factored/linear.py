"""A fully connected layer whose weight is a sum of R Kronecker products, as two products of matrices.

    Y = X W^T + b
    W[f1 F2 + f2, c1 C2 + c2] = sum over r of A_r[f1, c1] B_r[f2, c2]        A (R, F1, C1), B (R, F2, C2)

    B first    u[c1, r, f2] = sum over c2 of X[c1, c2] B_r[f2, c2]         Y[f1, f2] = sum over c1, r of A_r[f1, c1] u
    A first    v[f1, r, c2] = sum over c1 of A_r[f1, c1] X[c1, c2]         Y[f1, f2] = sum over r, c2 of v B_r[f2, c2]

(Hameed et al., AAAI 2022, section 3, for a kernel of one pixel.) X is the matrix of its numbers [c1, c2], B comes from
the right and A from the left, and both orders read what the first product made as it lies: between the products stand
Reshapes alone. A that has one column on its right (F2 = 1, or C2 = 1) comes from the right too. The low rank W = A B is
the case C1 = F2 = 1, and has no Reshape.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxcomp.factored.target import Steps
from onnxcomp.fragment import Fragment
from onnxcomp.numerics.kronecker import Factors, KroneckerShape


@dataclass(frozen=True, eq=False)
class LinearTarget:
    """The layer that is to be factored."""

    fragment: Fragment  # Gemm; or MatMul, and the Add of its bias where there is one
    rank: int  # of X (..., K), and of Y (..., N)
    bias: NDArray[np.floating]  # b (N)


def dense(target: LinearTarget, weight: NDArray[np.floating]) -> Fragment:
    """The layer with another weight (N, K); every node gives the tensor that it gave."""
    steps, before = _Steps(target), target.fragment.nodes
    if before[0].op_type == "Gemm":
        steps.layer("dense", steps.x, weight, target.bias)
        return steps.fragment()
    product = steps.layer("dense", steps.x, weight)
    if len(before) > 1 or target.bias.any():
        steps.biased(product, target.bias)
    after = steps.fragment()
    if len(before) > 1:
        after.nodes[0].output[0] = after.nodes[1].input[0] = before[0].output[0]
    return after


def a_first(shape: KroneckerShape) -> bool:
    """Whether A comes first: where that takes fewer multiply-adds."""
    F, C = shape.weight[:2]
    return C * shape.f1 + F * shape.c2 < C * shape.f2 + F * shape.c1


def kronecker(target: LinearTarget, factors: Factors) -> Fragment:
    """The two products. `factors` are those of W (N, K, 1, 1)."""
    shape = KroneckerShape(*(n for pair in zip(factors.a.shape[1:], factors.b.shape[1:], strict=True) for n in pair))
    return (_by_a_first if a_first(shape) else _by_b_first)(target, shape, factors)


def _by_b_first(target: LinearTarget, shape: KroneckerShape, factors: Factors) -> Fragment:
    steps, terms = _Steps(target), shape.c1 * factors.rank
    a = factors.a[..., 0, 0].transpose(1, 2, 0).reshape(shape.f1, terms)
    b = factors.b.reshape(-1, shape.c2)
    slices = steps.reshape("slices", steps.x, shape.c1, shape.c2) if shape.c1 > 1 else steps.x
    u = steps.layer("b", slices, b)
    if shape.f2 > 1:
        product = steps.from_left("a", a, steps.reshape("terms", u, terms, shape.f2))
        steps.whole(product, target.bias)
    else:
        steps.layer("a", steps.reshape("terms", u, terms) if shape.c1 > 1 else u, a, target.bias)
    return steps.fragment()


def _by_a_first(target: LinearTarget, shape: KroneckerShape, factors: Factors) -> Fragment:
    steps, terms = _Steps(target), factors.rank * shape.c2
    a = factors.a[..., 0, 0].transpose(1, 0, 2).reshape(-1, shape.c1)
    b = factors.b[..., 0, 0].transpose(1, 0, 2).reshape(shape.f2, terms)
    if shape.c2 > 1:
        v = steps.from_left("a", a, steps.reshape("slices", steps.x, shape.c1, shape.c2))
    else:
        v = steps.layer("a", steps.x, a)
    if shape.f1 > 1:
        steps.whole(steps.layer("b", steps.reshape("terms", v, shape.f1, terms), b), target.bias)
    else:
        steps.layer("b", steps.reshape("terms", v, terms) if shape.c2 > 1 else v, b, target.bias)
    return steps.fragment()


class _Steps(Steps):
    """The nodes that will stand for a fully connected layer."""

    def __init__(self, target: LinearTarget) -> None:
        super().__init__(target.fragment)
        self._rank = target.rank

    def layer(self, role: str, x: str, weight: NDArray[np.floating], bias: NDArray[np.floating] | None = None) -> str:
        """`x` by a weight (n, k), outputs first; with a bias (n), `x` is of X's rank."""
        if bias is not None and bias.any() and self._rank == 2:
            constants = self.constant(role, weight), self.constant(f"{role}_bias", bias)
            return self.add(role, "Gemm", [x, *constants], transB=1)
        product = self.add(role, "MatMul", [x, self.constant(role, weight.T)])
        return self.biased(product, bias) if bias is not None and bias.any() else product

    def from_left(self, role: str, weight: NDArray[np.floating], x: str) -> str:
        """A weight (m, k) by matrices `x` (..., k, n)."""
        return self.add(role, "MatMul", [self.constant(role, weight), x])

    def whole(self, y: str, bias: NDArray[np.floating]) -> None:
        """`y` (..., F1, F2) as (..., F) with b (F) added, where that is not zero."""
        flat = self.reshape("whole", y, len(bias))
        if bias.any():
            self.biased(flat, bias)

    def biased(self, y: str, bias: NDArray[np.floating]) -> str:
        """`y` (..., N) with b (N) added."""
        return self.add("biased", "Add", [y, self.constant("bias", bias)])

    def reshape(self, role: str, x: str, *sizes: int) -> str:
        """`x` with other axes behind those before X's last."""
        target = np.array([*[0] * (self._rank - 1), *sizes])
        return self.add(role, "Reshape", [x, self.constant(f"{role}_to", target)])
