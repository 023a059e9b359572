"""Which Kronecker shape and rank for a layer: many are told apart by a rule, few by their errors, and none is measured.

A 512x512x3x3 weight splits in 400 ways, and the error of each takes the eigenvalues of a Gram matrix. So a cheap rule
(prediction.py) says which ranks are affordable, and of a large weight only the shapes that promise most are decomposed.
On data that error is an estimate, too high above all where both factors have pixels: the closest few are fitted.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from onnxcomp.factored.kronecker import why_not
from onnxcomp.factored.prediction import Cost
from onnxcomp.numerics import als
from onnxcomp.numerics.kronecker import KroneckerShape, reconstruct, shapes_of, unfold
from onnxcomp.numerics.moments import Array, energy
from onnxcomp.numerics.spectrum import tail_energies
from onnxcomp.workers import processes_here

_DECOMPOSED = 8  # shapes of a layer whose errors are computed, at least
_DECOMPOSING = 1e10  # multiply-adds that may be spent on further ones: a second
_FITTED = 4  # of the closest, whose errors on data are known by fitting
_FITTING = 5e9  # multiply-adds that a sweep may take, the only one: a second hardly changes which is closest
_LARGEST_GRAM = 1600  # rows: eigenvalues of more take seconds
_LARGEST_LOW_RANK = 4096  # of the shapes that are a low rank: a few of a layer, and often the closest
LARGEST_WEIGHT = 2**24  # numbers: those of more, of which double precision makes copies, are not searched
_BLOCK = 16  # channels that ONNX Runtime computes at once
_SPARED = 1 / 8  # of the terms, at most, are given up for whole blocks


@dataclass(frozen=True)
class Choice:
    """A decomposition: relative L2 `error` of the weight, `cost` in the rule's multiply-adds."""

    shape: KroneckerShape
    rank: int
    error: float
    cost: float

    @property
    def parameters(self) -> int:
        """Numbers, of one group."""
        return self.shape.parameters(self.rank)


@dataclass(frozen=True, eq=False)
class Search:
    """Decompositions of a layer, the weight of each group in `groups`, that cost at most `share` of the dense one."""

    groups: Sequence[NDArray[np.floating]]  # (C_out / group, C_in / group, kh, kw)
    cost: Cost
    share: float
    only: KroneckerShape | None = None  # every other shape is left out
    max_macs: float = inf  # multiply-adds at most, as a share of the dense layer's
    moments: Sequence[Array] | None = None  # of each group's input: errors are then about those of the output
    found: dict[KroneckerShape, NDArray[np.float64]] = field(default_factory=dict)  # errors, for other searches to use

    def among(self, known: Sequence[tuple[KroneckerShape, int]]) -> list[Choice]:
        """Of shapes and ranks `known` to be exact those that have a form and are cheap enough, cheapest first."""
        choices = [
            Choice(shape, rank, 0.0, self.cost(shape, rank))
            for shape, rank in known
            if self.only in (None, shape) and not why_not(shape, len(self.groups))
        ]
        return sorted((c for c in choices if c.cost <= self.share), key=lambda choice: choice.cost)

    def within(self, max_error: float) -> list[Choice]:
        """Those of a relative error up to `max_error`, the fewest terms of each shape, cheapest first."""
        # What most numbers can be spent on comes closest, as a rule.
        shapes = sorted(self._affordable(), key=lambda found: -found[0].parameters(found[1]))
        choices = []
        for shape, most in self._decomposed(shapes):
            errors = self.errors(shape)
            rank = int(np.argmax(errors <= max_error))
            if rank <= most:
                choices.append(self._choice(shape, min(_whole_blocks(shape, rank, up=True), most), errors))
        return sorted(front(choices), key=lambda choice: choice.cost)

    def at(self, compression: float) -> list[Choice]:
        """Those of `compression` times fewer parameters, the most terms of each shape, closest first."""
        budget = self.groups[0].size / compression
        shapes = []
        for shape, most in self._affordable():
            rank = min(int(budget / shape.parameters(1)), most)
            if rank:
                shapes.append((shape, _whole_blocks(shape, rank, up=False)))
        shapes.sort(key=lambda found: -found[1])  # more terms are more freedom for as many numbers
        return self._closest(shapes)

    def with_rank(self, rank: int) -> list[Choice]:
        """Those of `rank` terms, closest first."""
        shapes = [(shape, rank) for shape, most in self._affordable() if rank <= most]
        shapes.sort(key=lambda found: -found[0].parameters(rank))
        return self._closest(shapes)

    def errors(self, shape: KroneckerShape) -> NDArray[np.float64]:
        """The relative L2 error of the weight, or about that of the output, in 0, 1, ... terms a group."""
        if shape not in self.found:
            self.found[shape] = self._errors(shape)
        return self.found[shape]

    def _errors(self, shape: KroneckerShape) -> NDArray[np.float64]:
        if self.moments is None:
            unfolded = [unfold(weight, shape) for weight in self.groups]
        else:
            pairs = zip(self.groups, self.moments, strict=True)
            unfolded = [als.whiten(weight, shape, moment)[0] for weight, moment in pairs]
        tails = np.sum([tail_energies(matrix) for matrix in unfolded], axis=0)
        errors: NDArray[np.float64] = np.sqrt(tails / tails[0])
        return errors

    def _closest(self, shapes: Sequence[tuple[KroneckerShape, int]]) -> list[Choice]:
        """Of shapes and their ranks, those of most promise first, the front, closest first."""
        with ThreadPoolExecutor(processes_here()) as pool:  # linear algebra on matrices too small for its own threads
            choices = list(pool.map(self._estimated, self._decomposed(shapes)))
            if self.moments is not None:
                choices.sort(key=lambda choice: choice.error)
                choices[:_FITTED] = pool.map(self._fitted, choices[:_FITTED])
        return sorted(front(choices), key=lambda choice: choice.error)

    def _estimated(self, found: tuple[KroneckerShape, int]) -> Choice:
        shape, rank = found
        return self._choice(shape, rank, self.errors(shape))

    def _decomposed(self, shapes: Iterable[tuple[KroneckerShape, int]]) -> Iterator[tuple[KroneckerShape, int]]:
        """The first few, and as many more as time allows."""
        spent = 0
        for count, (shape, rank) in enumerate(shapes, 1):
            small, large = sorted(shape.unfolded)
            spent += len(self.groups) * small**2 * (small + large)
            if count > _DECOMPOSED and spent > _DECOMPOSING:
                return
            yield shape, rank

    def _fitted(self, choice: Choice) -> Choice:
        """`choice` with the error that a fit has, where it does not take long."""
        assert self.moments is not None
        if len(self.groups) * als.sweep_macs(choice.shape, choice.rank) > _FITTING:
            return choice
        error = whole = 0.0
        for weight, moment in zip(self.groups, self.moments, strict=True):
            factors = als.decompose(weight, choice.shape, choice.rank, moment, sweeps=1)
            error += energy(weight - reconstruct(factors), moment)
            whole += energy(weight, moment)
        return replace(choice, error=float(np.sqrt(error / whole)) if whole else choice.error)

    def _choice(self, shape: KroneckerShape, rank: int, errors: NDArray[np.float64]) -> Choice:
        return Choice(shape, rank, float(errors[rank]), self.cost(shape, rank))

    def _affordable(self) -> Iterable[tuple[KroneckerShape, int]]:
        """Every shape that has a form, with the most terms that cost no more than the share and save parameters."""
        group, size = len(self.groups), self.groups[0].size
        if size > LARGEST_WEIGHT:
            return
        for shape in [self.only] if self.only else shapes_of(self.groups[0].shape):
            if min(shape.unfolded) == 1 or min(shape.unfolded) > _largest_gram(shape) or why_not(shape, group):
                continue
            limit = min(shape.rank_max, (size - 1) // shape.parameters(1))
            limit = int(min(limit, self.max_macs * size / shape.macs(1)))
            most = self._most(shape, limit)
            if most:
                yield shape, most

    def _most(self, shape: KroneckerShape, limit: int) -> int:
        """The largest rank up to `limit` that costs at most the share: costs grow with the rank."""
        low = 0
        while low < limit:
            middle = (low + limit + 1) // 2
            if self.cost(shape, middle) <= self.share:
                low = middle
            else:
                limit = middle - 1
        return low


def front(choices: Sequence[Choice]) -> list[Choice]:
    """Those that no other matches or beats in error, cost and parameters alike (of equals, the first)."""
    points = [(choice.error, choice.cost, choice.parameters) for choice in choices]
    return [
        choice
        for i, (choice, point) in enumerate(zip(choices, points, strict=True))
        if not any(
            all(o <= p for o, p in zip(other, point, strict=True)) and (other != point or j < i)
            for j, other in enumerate(points)
        )
    ]


def _largest_gram(shape: KroneckerShape) -> int:
    return _LARGEST_LOW_RANK if shape.c1 == shape.f2 == 1 else _LARGEST_GRAM


def _whole_blocks(shape: KroneckerShape, rank: int, *, up: bool) -> int:
    """`rank`, so that the first convolution gives whole blocks of channels: down only where that loses few terms."""
    step = int(_BLOCK // np.gcd(_BLOCK, shape.f2))
    if up:
        return min(-(-rank // step) * step, shape.rank_max)
    return rank - rank % step if rank % step <= _SPARED * rank else rank
