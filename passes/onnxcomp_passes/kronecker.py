"""kronecker: compute a layer whose weight is a sum of Kronecker products by two smaller ones.

    Conv(X, W, b), W = sum over r <= R of A_r (x) B_r    becomes    A * (B * X) [+ b]
    X W^T + b, W likewise                                becomes    two matrix products

each a Conv, or A a matrix product (onnxcomp/factored/kronecker.py, linear.py; Hameed et al., Convolutional Neural
Network Compression through Generalized Kronecker Product Decomposition, AAAI 2022, section 3). Low rank and separable
kernels are among the shapes. Applies to 1-D and 2-D float32 convolutions with a constant weight, any strides, pads and
dilations, in groups where the input channels do not split; and to Gemm and MatMul with a constant weight on the right.
Only where measured faster than ONNX Runtime's dense layer here, unless `when=always`.

Without options only what is a short sum already is rewritten, which is exact. Otherwise

    max_error     of the shapes that can be as close to W (relative L2), those predicted fastest
    compression   of the shapes at so many times fewer parameters, the closest that is measured faster
    shape, rank   A's shape, and R in place of what the two above would choose

by a truncated SVD, the best in that norm. Such a layer computes with another weight, by the error its candidate tells.

Never touches depthwise convolutions, nor layers inside If, Loop or Scan bodies. Before fold-batchnorm, not after it: a
factor for every output channel leaves few weights the products they were.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from onnxcomp.context import Context
from onnxcomp.factored.search import Choice, Search
from onnxcomp.layerwise import LayerProblem
from onnxcomp.model import Model
from onnxcomp.numerics import als, kronecker
from onnxcomp.numerics.find_exact import exact_kronecker, exact_shared_basis
from onnxcomp.numerics.kronecker import Factors, KroneckerShape
from onnxcomp.numerics.threads import fit_for
from onnxcomp.pass_api import Candidate, Declined, Site
from onnxcomp.planner import WORTHWHILE
from onnxcomp_passes.factor_sites import FactorSite
from onnxcomp_passes.factoring import FactoringOptions
from onnxcomp_passes.layers import LAYERS
from onnxcomp_passes.stand_in import EXACT, Draft, StandInPass, as_stored, candidate, problem_of, why_not_here

_SHARE = 0.9  # of the dense Conv's time that the rule may predict at most
_SEARCHED = 1 << 18  # numbers in a weight whose shape is looked for on data, if there is some
_MEASURED = 3  # candidates a layer: the rule that ranks them is off by some 20 %


class KroneckerOptions(FactoringOptions):
    """Options of kronecker."""

    compression: float | None = Field(None, gt=1, description="how many times fewer parameters a layer must have")
    rank: int | None = Field(None, ge=1, description="R, the number of products")
    max_macs: float = Field(1.0, gt=0, description="multiply-adds a layer may take, as a share of the dense layer's")
    shape: str | None = Field(
        None,
        pattern=r"^\d+x\d+(x\d+){0,2}$",
        description="of A: F1xC1xh1xw1, without what the layer has not",
    )


class Kronecker(StandInPass):
    """Compute layers as two smaller ones, the factors of their weights."""

    name = "kronecker"
    summary = "compute layers whose weights are Kronecker products, or nearly, by the factors"
    Options = KroneckerOptions
    min_opset = 10  # Slice with inputs
    options: KroneckerOptions
    readers = LAYERS

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every Conv, Gemm and MatMul; without options, those whose weights are short sums of products."""
        for site in super().match(graph):
            if not isinstance(site, FactorSite) or self._lossy:
                yield site
                continue
            known = _exact(site.groups)
            if isinstance(known, str):
                yield Declined(site.name, known)
            else:
                yield replace(site, exact=tuple(known))

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The best of the factorisations, timed against the dense layer."""
        assert isinstance(site, FactorSite)
        choices = why_not_here(site, context) or self._found(site, context)
        if isinstance(choices, str):
            yield Declined(site.name, choices)
        else:
            yield from self._candidates(site, choices, context)

    def _found(self, site: FactorSite, context: Context) -> Sequence[Choice] | str:
        """What to make candidates of, the best first, or why there is nothing."""
        refusal = site.why_not_approximated(on_data=context.layerwise is not None) if self._lossy else None
        if refusal:
            return refusal
        cost, only = site.cost(context), self._only(site)
        if isinstance(cost, str):
            return cost
        if isinstance(only, str):
            return only
        share = _SHARE if self._measuring and only is None else inf
        search = Search(site.groups, cost, share, only, self.options.max_macs)
        content = f"{hashlib.sha256(site.weight.tobytes()).hexdigest()} {site.weight.shape} {len(site.groups)}"
        where = "" if context.layerwise is None else site.key
        x = context.shapes[site.nodes[0].inputs[0].name]

        def choices() -> Sequence[Choice] | str:
            on_data = self._on_data(search, site, context)
            errors = f"errors of {content} {where if on_data.moments else ''}"  # the same at every strength
            return self._choices(site, replace(on_data, found=context.once(errors, dict)))

        with fit_for(site.weight[0].size):
            return context.once(f"{self.text()} {content} {site.walk} {x} {where}", choices)

    def _on_data(self, search: Search, site: FactorSite, context: Context) -> Search:
        """`search` for the shape that is closest on the data, where there is some and the closest is asked for.

        Not of large layers, where it would take as long as all the rest.
        """
        if context.layerwise is None or not self._closest or self.options.solver == "svd":
            return search
        if site.weight.size > _SEARCHED:
            return search
        return replace(search, moments=list(problem_of(site, context, sequential=False).moments))

    @property
    def _measuring(self) -> bool:
        return self.options.when == "faster"

    @property
    def _lossy(self) -> bool:
        """Whether weights may change."""
        return self._closest or bool(self.options.max_error)

    @property
    def _closest(self) -> bool:
        """Whether the closest decomposition that is faster is asked for, not the fastest that is close enough."""
        return self.options.compression is not None or self.options.rank is not None

    def _candidates(self, site: FactorSite, choices: Sequence[Choice], context: Context) -> Iterator[Candidate]:
        """The first few choices; where the closest is asked for, the first that is faster stands alone."""
        made = []
        for choice in choices[: _MEASURED if self._measuring else 1]:
            factors = factors_of(site.groups, choice.shape, choice.rank)
            weight = weight_of(factors)
            draft = Draft(site.factored(context.model, factors), weight, _words(choice))
            one = candidate(self.name, site, draft, context, measured=self._measuring)
            if self._closest and one.timing and one.timing.after_ms < WORTHWHILE * one.timing.before_ms:
                yield one
                return
            made.append(one)
        yield from made

    def fitted(self, site: FactorSite, candidate_: Candidate, problem: LayerProblem, context: Context) -> Candidate:
        """The same shape and rank, nearest to W* in its norm."""
        shape, rank = self._shape(site, candidate_.options["shape"]), candidate_.options["rank"]
        assert isinstance(shape, KroneckerShape), "it was proposed"
        factors = self._fitted_factors(site.groups_of(problem.weight), problem, shape, rank)
        weight = weight_of(factors)
        if self.options.statistics:
            scales = np.split(problem.scale(weight), len(factors))
            factors = [stored(kronecker.scale_rows(one, s)) for one, s in zip(factors, scales, strict=True)]
            weight = weight_of(factors)
        bias = problem.bias(weight)
        after = site.with_bias(bias).factored(context.model, factors)
        draft = Draft(after, weight, candidate_.options, bias=bias)
        return candidate(self.name, site, draft, context, problem=problem)

    def _fitted_factors(
        self, groups: Sequence[NDArray[np.floating]], problem: LayerProblem, shape: KroneckerShape, rank: int
    ) -> list[Factors]:
        if self.options.solver == "svd":
            return factors_of(groups, shape, rank)
        sweeps = problem.sweeps if self.options.solver == "als" else 0
        return [
            stored(als.decompose(weight, shape, rank, S, sweeps=sweeps))
            for weight, S in zip(groups, problem.moments, strict=True)
        ]

    def _choices(self, site: FactorSite, search: Search) -> Sequence[Choice] | str:
        """The same by the options."""
        options = self.options
        allowed = 1.0 if options.max_error is None else max(options.max_error, EXACT)
        if options.compression or options.rank:
            found = search.with_rank(options.rank) if options.rank else search.at(options.compression or 1.0)
            close = [choice for choice in found if choice.error <= allowed]
            return close or "no decomposition of that size is as close as allowed and predicted faster"
        if options.max_error:
            return search.within(allowed) or f"no decomposition within {options.max_error:g} is predicted faster"
        return search.among(site.exact) or "the sums of Kronecker products that its weight is would be no faster"

    def _only(self, site: FactorSite) -> KroneckerShape | str | None:
        """The shape that the options ask for, or why this weight has none such; None where any will do."""
        return None if self.options.shape is None else self._shape(site, self.options.shape)

    def _shape(self, site: FactorSite, words: str) -> KroneckerShape | str:
        """The shape in which A is as `words` say, or why this weight has none such."""
        whole = site.groups[0].shape
        a = [int(size) for size in words.split("x")]
        if len(a) == site.weight.ndim < 4:
            a[2:2] = [1] * (4 - len(a))
        if len(a) != 4 or any(size < 1 or total % size for size, total in zip(a, whole, strict=True)):
            return f"a weight of {list(site.weight.shape)} has no factor of {words}"
        f1, c1, h1, w1 = a
        shape = KroneckerShape(f1, whole[0] // f1, c1, whole[1] // c1, h1, whole[2] // h1, w1, whole[3] // w1)
        return site.why_not(shape) or shape


def _exact(groups: Sequence[NDArray[np.floating]]) -> list[tuple[KroneckerShape, int]] | str:
    """Shapes and ranks that are exact for the weights of all groups, or why the search ends here."""
    d = exact_shared_basis(np.concatenate(groups))
    if d is not None:
        return f"its kernels share {d} bases: penni's form of that is faster"
    first, *others = (dict(exact_kronecker(weight)) for weight in groups)
    common = [
        (shape, max(rank, *(other[shape] for other in others), 0))
        for shape, rank in first.items()
        if all(shape in other for other in others)
    ]
    return common or "its weight is no short sum of Kronecker products"


def factors_of(groups: Sequence[NDArray[np.floating]], shape: KroneckerShape, rank: int) -> list[Factors]:
    """The factors of each group's weight, as they are stored."""
    return [stored(kronecker.decompose(weight, shape, rank)) for weight in groups]


def weight_of(groups: Sequence[Factors]) -> NDArray[np.float64]:
    """W' (C_out, C_in / group, kh, kw) of the factors of each group."""
    return np.concatenate([kronecker.reconstruct(one) for one in groups])


def stored(factors: Factors) -> Factors:
    """The factors as they are stored."""
    return Factors(as_stored(factors.a), as_stored(factors.b))


def _words(choice: Choice) -> dict[str, Any]:
    """As the options would say it."""
    return {"shape": "x".join(map(str, choice.shape.a)), "rank": choice.rank}
