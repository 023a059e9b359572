"""Shared bases with sparse coefficients: W[o, i] ~= sum_j C[o, i, j] B_j, most C zero (PENNI, ICML 2020, section 3.2).

Where the paper trains with an L1 penalty and a threshold, the coefficients are pruned on data. Given B they meet
inputs of their own, the columns filtered by B_j, whose second moment is (I (x) B) S (I (x) B)^T: a problem like any
other (numerics.pruning). Given the sparse C the bases are least squares again.
"""

import numpy as np
from numpy.typing import NDArray

from onnxcomp.numerics.admm import Projection
from onnxcomp.numerics.als import Problem
from onnxcomp.numerics.kronecker import Factors
from onnxcomp.numerics.moments import rows, target
from onnxcomp.numerics.pruning import prune, refit
from onnxcomp.numerics.shared_basis import Decomposition, shape_of

Array = NDArray[np.float64]

_ROUNDS = 2  # they gain some 0.2 % of the error


def prune_coefficients(
    weight: NDArray[np.floating],
    start: Decomposition,
    moment: Array,
    project: Projection,
    *,
    rough: bool = False,
) -> Decomposition:
    """C in the set of `project` and B, near W (C_out, C_in / group, k...) in the norm of `moment`; from a `start`.

    `project` sees C (C_out, C_in / group, d). After the pattern is found, B and the coefficients that are left are
    refitted in turns, unless `rough` (numerics.pruning) is enough.
    """
    C, B = start
    wanted, gram = coefficient_problem(weight, C, B, moment)
    C = prune(wanted, gram, project, rough=rough)
    if rough:
        return C, B
    shape = shape_of(weight.shape)
    problem = Problem.of(np.asarray(weight, np.float64).reshape(shape.weight), shape, moment)
    for _ in range(_ROUNDS):
        a = C.transpose(2, 0, 1).reshape(-1, *shape.a)
        B = problem.improve_b(Factors(a, B.reshape(-1, *shape.b)))[0].reshape(B.shape)
        wanted, gram = coefficient_problem(weight, C, B, moment)
        C = refit(wanted, gram, C)
    return C, B


def coefficient_problem(weight: NDArray[np.floating], prior: Array, bases: Array, moment: Array) -> tuple[Array, Array]:
    """The best dense coefficients (C_out, C_in / group, d), and the moment in whose norm others are to be near them.

    What the data does not decide is as in `prior`. The moment is (C_in / group * d) squared, stacked as `moment` is.
    """
    C_in, K, B = weight.shape[1], weight[0, 0].size, bases.reshape(len(bases), -1)
    S = moment.reshape(*moment.shape[:-2], C_in, K, C_in, K)
    gram = np.einsum("dk,...ckel,fl->...cdef", B, S, B, optimize=True)
    gram = gram.reshape(*moment.shape[:-2], C_in * len(B), C_in * len(B))
    WS = rows(weight, moment) @ moment
    cross = (WS.reshape(*WS.shape[:-1], C_in, K) @ B.T).reshape(*WS.shape[:-1], C_in * len(B))
    return target(cross, gram, prior).reshape(prior.shape), gram
