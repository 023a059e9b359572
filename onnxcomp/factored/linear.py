"""A fully connected layer whose weight is a sum of R Kronecker products, as two products of matrices.

    Y = X W^T + b
    W[f1 F2 + f2, c1 C2 + c2] = sum over r of A_r[f1, c1] B_r[f2, c2]        A (R, F1, C1), B (R, F2, C2)

    u[c1, r, f2] = sum over c2 of X[c1, c2] B_r[f2, c2]        rows of C2 numbers by B (R F2, C2)
    Y[f1, f2]    = sum over c1 and r of A_r[f1, c1] u[c1, r, f2]        A (F1, C1 R) by u (C1 R, F2)

(Hameed et al., AAAI 2022, section 3, for a kernel of one pixel.) Both read u in the order in which it is made, so that
no data moves: between the products stand Reshapes alone. Where F2 = 1 the second is another layer, of u by A; the low
rank W = A B is the case C1 = F2 = 1, and has no Reshape.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onnxcomp.factored.target import Steps
from onnxcomp.fragment import Fragment
from onnxcomp.numerics.kronecker import Factors


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


def kronecker(target: LinearTarget, factors: Factors) -> Fragment:
    """The two products. `factors` are those of W (N, K, 1, 1)."""
    steps, lead = _Steps(target), [0] * (target.rank - 1)
    R, F1, C1 = factors.a.shape[:3]
    F2, C2 = factors.b.shape[1:3]
    a = factors.a.reshape(R, F1, C1).transpose(1, 2, 0).reshape(F1, C1 * R)
    b = factors.b.reshape(R * F2, C2)
    x = steps.reshape("slices", steps.x, [*lead, C1, C2]) if C1 > 1 else steps.x
    u = steps.layer("b", x, b)
    if F2 == 1:
        u = steps.reshape("terms", u, [*lead, C1 * R]) if C1 > 1 else u
        steps.layer("a", u, a, target.bias)
    else:
        terms = steps.reshape("terms", u, [*lead, C1 * R, F2])
        product = steps.add("product", "MatMul", [steps.constant("a", a), terms])
        y = steps.reshape("whole", product, [*lead, F1 * F2])
        if target.bias.any():
            steps.biased(y, target.bias)
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

    def biased(self, y: str, bias: NDArray[np.floating]) -> str:
        """`y` (..., N) with b (N) added."""
        return self.add("biased", "Add", [y, self.constant("bias", bias)])

    def reshape(self, role: str, x: str, sizes: list[int]) -> str:
        """A Reshape, 0 for a size that stays."""
        return self.add(role, "Reshape", [x, self.constant(f"{role}_to", np.array(sizes))])
