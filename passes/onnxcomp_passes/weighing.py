"""What each candidate for a layer costs and loses: the part of compress that takes long."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onnxcomp.calibration import Data, held
from onnxcomp.context import Context, NotRunnable, Timing
from onnxcomp.errors import DataError, ModelError
from onnxcomp.fragment import Fragment
from onnxcomp.layerwise import SAMPLES
from onnxcomp.model import Model
from onnxcomp.numerics.threads import fit_for
from onnxcomp.pass_api import Candidate
from onnxcomp_passes.curves import change_at, error_at, spread, time_at
from onnxcomp_passes.factor_sites import FactorSite, factor_sites
from onnxcomp_passes.layers import LAYERS
from onnxcomp_passes.prune import Prune
from onnxcomp_passes.shrunk_form import shrunk_form
from onnxcomp_passes.sparse_form import sparse_form
from onnxcomp_passes.sparsity import MIN_ZEROS
from onnxcomp_passes.stand_in import StandInPass, problem_of
from onnxcomp_passes.strengths import Strength, strengths_of
from onnxcomp_passes.worth import Unit, ratio, unbeaten

AS = "as"  # the option that tells which method, at which strength, a candidate is of
AS_IT_IS = "as it is"  # what that option says of a layer whose own zeros already save something
_SAME_ZEROS = 1e-3  # by which shares differ that are rounded to whole weights, blocks and channels
_CHANGES = 3  # of the network, measured for a layer; what other errors do to it lies between


class Weigher:
    """Of the layers of one network: `methods` at all their strengths, in a context."""

    def __init__(self, methods: str, unit: Unit, context: Context) -> None:
        self._methods = methods
        self._strengths = {strength.one.text(): strength for strength in strengths_of(methods, unit)}
        self._unit = unit
        self._context = context

    def drafts(self, site: FactorSite) -> Iterator[Candidate]:
        """Of every method that takes the layer, fitted to its weight alone; none told twice."""
        told = []
        for text, strength in self._strengths.items():
            one = strength.one
            if site.nodes[0].op not in one.readers or one.why_not(site):
                continue
            for draft in one.propose(site, self._context):
                if isinstance(draft, Candidate) and (draft.method, draft.options) not in told:
                    told.append((draft.method, draft.options))
                    yield replace(draft, options={**draft.options, AS: text})

    def priced(self, site: FactorSite) -> list[Candidate]:
        """The cheapest of each strength, as what passes behind compress make of it, where it costs less than dense.

        What does not, but is measured next to what does, is there as well: the losses of what lies between need it.
        Without fragments where the weight changes: those of every strength would be a network's worth each.
        """
        cheapest: dict[str, Candidate] = {}
        for one in map(bare, self._as_run(site, list(self.drafts(site)))):
            other = cheapest.get(one.options[AS])
            if other is None or self._ratio(one) < self._ratio(other):
                cheapest[one.options[AS]] = one
        return [*self._as_it_is(site), *self._paying(self._unmatched(list(cheapest.values())))]

    def judged(self, site: FactorSite, priced: Sequence[Candidate]) -> list[Candidate]:
        """Those of `priced` that cost less than dense and that no other beats in cost and in the layer's error.

        With both losses. Raises NotRunnable where they cannot be told.
        """
        assert self._context.layerwise is not None
        fits = self._fits(site, priced)
        self._context.layerwise.forget()
        measured = {text: replace(priced_, output_error=fit.output_error) for text, (priced_, fit) in fits.items()}
        between = self._between(priced, measured)
        kept = unbeaten([one for one in (*measured.values(), *between) if self._ratio(one) < 1], self._unit)
        changes = self._changes(site, [fit for _, fit in fits.values()], kept)
        return [
            replace(one, network_change=change_at(one.output_error or 0.0, changes) if one.error else 0.0)
            for one in kept
        ]

    def method_of(self, one: Candidate) -> StandInPass:
        """The pass that proposed it."""
        return self._strengths[one.options[AS]].one

    def elsewhere(self) -> "Elsewhere":
        """What another process needs to judge layers. Raises NotRunnable where the network is too large to be sent."""
        context, workers = self._context, self._context.workers
        assert context.data is not None, "asked for where there is data"
        # A user's function may not be found elsewhere, nor a file on another machine.
        send = context.data.source.kind == "callable" or (workers is not None and workers.remote)
        if context.digest is None:
            raise NotRunnable("the network takes over 2 GB, more than can be sent to another process")
        return Elsewhere(
            model=context.model,
            data=held(context.data, SAMPLES) if send else context.data,
            methods=self._methods,
            unit=self._unit,
            threads=1,
            seed=context.seed,
            portable=context.portable,
            goal=context.goal,
        )

    def _as_run(self, site: FactorSite, drafts: Sequence[Candidate]) -> Iterator[Candidate]:
        """`drafts`, those with zeros at the costs of the sparse operator that they become."""
        timing = self._unit == "ms"
        lines: dict[str, list[tuple[float, Timing]]] = defaultdict(list)  # by method: multiply-adds, what they take
        between = []
        for draft in drafts:
            strength = self._strengths[draft.options[AS]]
            if not isinstance(strength.one, Prune):
                yield _at_the_costs(draft, draft)
                continue
            found = self._form(site, draft, strength)
            if found is None:
                continue
            run = _at_the_costs(draft, found)
            if timing and not strength.measured:
                between.append(run)
                continue
            if run.macs and run.timing:
                lines[strength.method].append((run.macs[1], run.timing))
            yield run
        for run in between:
            time = time_at(run.macs[1], lines[self._strengths[run.options[AS]].method]) if run.macs else None
            if time is not None:
                yield replace(run, timing=time)

    def _form(self, site: FactorSite, draft: Candidate, strength: Strength) -> Candidate | None:
        """What passes behind compress make of the layer with the zeros of `draft`; None where it gains nothing."""
        assert isinstance(strength.one, Prune) and draft.after is not None
        if strength.one.options.pattern == "input-channels":
            return shrunk_form(site, draft.after, self._context, timed=self._unit == "ms")
        return self._sparse(site, strength.one.project(site.weight), measured=strength.measured)

    def _sparse(self, site: FactorSite, weight: NDArray[np.floating], *, measured: bool = True) -> Candidate | None:
        """The operator that skips the zeros of `weight`; standard ones take no less time for them."""
        if self._unit == "ms" and self._context.portable:
            return None
        return sparse_form(site, weight, self._context, "faster" if self._unit == "ms" and measured else "always")

    def _as_it_is(self, site: FactorSite) -> Iterator[Candidate]:
        """The layer with the zeros that it has, where these save something."""
        zeros = 1 - np.count_nonzero(site.weight) / site.weight.size
        if zeros < MIN_ZEROS:
            return
        found = self._sparse(site, site.weight)
        if found is not None and self._ratio(found) < 1:
            told = {AS: AS_IT_IS, "zeros": round(float(zeros), 4)}
            exact = Candidate("prune", options=told, output_error=0.0, network_change=0.0)
            yield _at_the_costs(exact, found)

    def _unmatched(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Without zeros in a pattern where as many anywhere take no longer: they lose less, being free to lie there."""
        anywhere = [one for one in candidates if one.options.get("pattern") == "unstructured"]

        def matched(one: Candidate) -> bool:
            fewer = (other for other in anywhere if other.options["zeros"] <= one.options["zeros"] + _SAME_ZEROS)
            return "pattern" in one.options and any(self._ratio(other) <= self._ratio(one) for other in fewer)

        return [one for one in candidates if one in anywhere or not matched(one)]

    def _paying(self, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
        """Those that cost less than dense, and where the first of a line of zeros is not measured, what is before."""
        lines: dict[str, list[Candidate]] = defaultdict(list)
        for one in candidates:
            lines[self._method(one)].append(one)
        for line in lines.values():
            if all(self._is_measured(one) for one in line):
                yield from (one for one in line if self._ratio(one) < 1)
                continue
            rising = sorted(line, key=lambda one: float(one.options["zeros"]))
            first = next((i for i, one in enumerate(rising) if self._ratio(one) < 1), len(rising))
            yield from rising[max((i for i in range(first) if self._is_measured(rising[i])), default=first) :]

    def _fits(self, site: FactorSite, priced: Sequence[Candidate]) -> dict[str, tuple[Candidate, Candidate]]:
        """What is measured of `priced`, beside the same fitted to the data where it is not exact."""
        problem = replace(problem_of(site, self._context, sequential=False), rough=True)
        fits = {}
        with fit_for(problem.size):
            for one in priced:
                if not one.error:
                    fits[one.options[AS]] = (one, replace(one, output_error=0.0))
                elif self._is_measured(one):
                    fit = self.method_of(one).fitted(site, one, problem, self._context)
                    fits[one.options[AS]] = (one, replace(fit, after=None))  # large; what it stands for is looked at
        return fits

    def _between(self, priced: Sequence[Candidate], measured: Mapping[str, Candidate]) -> Iterator[Candidate]:
        """The others, with the error of a layer that has so many zeros. Nothing is said beyond what was measured."""
        for one in priced:
            if one.options[AS] not in measured:
                line = [c for c in measured.values() if c.error and self._method(c) == self._method(one)]
                error = error_at(one.options["zeros"], [(c.options["zeros"], c.output_error or 0.0) for c in line])
                if error is not None:
                    yield replace(one, output_error=error)

    def _method(self, one: Candidate) -> str:
        return self._strengths[one.options[AS]].method

    def _is_measured(self, one: Candidate) -> bool:
        return self._strengths[one.options[AS]].measured

    def _changes(
        self, site: FactorSite, fits: Sequence[Candidate], kept: Sequence[Candidate]
    ) -> list[tuple[float, float]]:
        """Errors of the layer, with what some of `fits`, each as the only one, do to the network's outputs.

        Those of `kept` lie between them.
        """
        wanted = [one.output_error or 0.0 for one in kept if one.error]
        inexact = {fit.output_error or 0.0: fit for fit in fits if fit.error}
        some = spread(list(inexact), min(wanted), max(wanted), _CHANGES) if wanted else []
        models = (self._replaced(inexact[error]) for error in some)
        outputs = Fragment.of(self._context.model, site.fused).outputs
        try:
            return list(zip(some, self._context.output_change.of_layer(models, site.key, outputs), strict=True))
        except (ModelError, DataError) as error:
            raise NotRunnable(str(error)) from error

    def _replaced(self, fit: Candidate) -> Model:
        assert self._context.layerwise is not None and fit.before is not None
        return self._context.layerwise.replaced(fit.before)

    def _ratio(self, one: Candidate) -> float:
        return ratio(one, self._unit)


@dataclass(frozen=True)
class Item:
    """A layer by its key, what is to be judged of it, and, where known, the moments of its inputs, shared."""

    key: str
    priced: Sequence[Candidate]
    moments: Any


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """All that another process needs to judge candidates for the layers of a network."""

    model: Model
    data: Data
    methods: str
    unit: Unit
    threads: int | None
    seed: int
    portable: bool
    goal: Literal["latency", "size"]

    def judged(self, item: Item) -> list[Candidate]:
        """There. Raises NotRunnable as `Weigher.judged` does."""
        assert self._context.layerwise is not None, "there is data"
        if item.moments is not None:
            self._context.layerwise.give(item.key, item.moments.read())
        return self._weigher.judged(self._sites[item.key], item.priced)

    @cached_property
    def _weigher(self) -> Weigher:
        return Weigher(self.methods, self.unit, self._context)

    @cached_property
    def _sites(self) -> Mapping[str, FactorSite]:
        """By their keys."""
        found = factor_sites(self._context.model, LAYERS)
        return {site.key: site for site in found if isinstance(site, FactorSite)}

    @cached_property
    def _context(self) -> Context:
        return Context.on_data(
            self.model, self.data, self.threads, self.seed, portable=self.portable, goal=self.goal, fitting=True
        ).on(self.model)


def judge_elsewhere(there: Elsewhere, item: Item) -> list[Candidate] | str:
    """`Weigher.judged` for that layer, or why nothing can be told."""
    try:
        return there.judged(item)
    except NotRunnable as error:
        return str(error)


def _at_the_costs(one: Candidate, run: Candidate) -> Candidate:
    """`one` with what it takes as `run`, conversions around operators of ours among it."""
    nchw = run.after is not None and not run.after.is_standard
    return replace(one, timing=run.timing, size_bytes=run.size_bytes, macs=run.macs, nchw=nchw)


def bare(one: Candidate) -> Candidate:
    """Without fragments where it changes weights, which are fitted anew; one that is exact keeps its own."""
    return replace(one, before=None, after=None) if one.error else one


class Ledger:
    """Candidates without fragments, kept for later runs. Those that are exact keep theirs, so they are not kept."""

    def __init__(self, context: Context, purpose: str) -> None:
        self._shelf = context.shelf(_Kept, purpose)

    def get(self, key: str) -> list[Candidate] | None:
        """What was kept under `key`."""
        found = self._shelf.get(key)
        return None if found is None else [Candidate(**vars(entry)) for entry in found.entries]

    def put(self, key: str, candidates: Sequence[Candidate]) -> None:
        """Keep them."""
        if all(one.error or one.after is None for one in candidates):
            names = [field.name for field in fields(_Entry)]
            entries = [_Entry(**{name: getattr(one, name) for name in names}) for one in candidates]
            self._shelf.put(key, _Kept(tuple(entries)))


@dataclass(frozen=True)
class _Entry:
    """What of a candidate is kept."""

    method: str
    options: Mapping[str, Any]
    timing: Timing | None
    error: float
    output_error: float | None
    network_change: float | None
    size_bytes: tuple[int, int]
    macs: tuple[int, int] | None
    nchw: bool


@dataclass(frozen=True)
class _Kept:
    """Of a layer."""

    entries: tuple[_Entry, ...]
