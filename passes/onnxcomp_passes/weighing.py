"""What each candidate for a layer costs and loses: the part of compress that takes long."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import onnx

from onnxcomp.calibration import Data, held
from onnxcomp.context import Context, NotRunnable, Timing
from onnxcomp.errors import DataError, ModelError
from onnxcomp.layerwise import SAMPLES
from onnxcomp.model import Model
from onnxcomp.numerics.threads import fit_for
from onnxcomp.pass_api import Candidate
from onnxcomp_passes.factor_sites import FactorSite, factor_sites
from onnxcomp_passes.layers import LAYERS
from onnxcomp_passes.prune import Prune
from onnxcomp_passes.sparse_form import sparse_form
from onnxcomp_passes.stand_in import StandInPass, problem_of
from onnxcomp_passes.strengths import passes_of
from onnxcomp_passes.worth import Unit, ratio, unbeaten

AS = "as"  # the option that tells which method, at which strength, a candidate is of
_KNOTS = (0.5, 0.75, 0.9, 0.98)  # sparsities whose time is measured; between two of them it is nearly a straight line


class Weigher:
    """Of the layers of one network: `methods` at all their strengths, in a context."""

    def __init__(self, methods: str, unit: Unit, context: Context) -> None:
        self._methods = methods
        self._passes = {one.text(): one for one in passes_of(methods, unit)}
        self._unit = unit
        self._context = context

    def drafts(self, site: FactorSite) -> Iterator[Candidate]:
        """Of every method that takes the layer, fitted to its weight alone; none told twice."""
        told = []
        for text, one in self._passes.items():
            if site.nodes[0].op not in one.readers or one.why_not(site):
                continue
            for draft in one.propose(site, self._context):
                if isinstance(draft, Candidate) and (draft.method, draft.options) not in told:
                    told.append((draft.method, draft.options))
                    yield replace(draft, options={**draft.options, AS: text})

    def priced(self, site: FactorSite) -> list[Candidate]:
        """The cheapest of each strength, as what passes behind compress make of it, where it costs less than dense."""
        cheapest: dict[str, Candidate] = {}
        for one in self._as_run(site, list(self.drafts(site))):
            other = cheapest.get(one.options[AS])
            if ratio(one, self._unit) < (1.0 if other is None else ratio(other, self._unit)):
                cheapest[one.options[AS]] = one
        return list(cheapest.values())

    def judged(self, site: FactorSite, priced: Sequence[Candidate]) -> list[Candidate]:
        """Those of `priced` that no other beats in cost and in the layer's error, with both losses.

        Raises NotRunnable where they cannot be told.
        """
        problem = problem_of(site, self._context, sequential=False)
        fits = []
        with fit_for(problem.size):
            for one in priced:
                fit = self.method_of(one).fitted(site, one, problem, self._context) if one.error else one
                fits.append((replace(one, output_error=fit.output_error if one.error else 0.0), fit))
        return [self._with_change(site, one, fit) for one, fit in unbeaten(fits, self._unit)]

    def method_of(self, one: Candidate) -> StandInPass:
        """The pass that proposed it."""
        return self._passes[one.options[AS]]

    def elsewhere(self) -> "Elsewhere":
        """What another process needs to judge. Raises NotRunnable where the network is too large to be sent."""
        context, workers = self._context, self._context.workers
        assert context.data is not None, "asked for where there is data"
        # A user's function may not be found elsewhere, nor a file on another machine.
        send = context.data.source.kind == "callable" or (workers is not None and workers.remote)
        try:
            return Elsewhere(
                model=context.model.to_proto().SerializeToString(),
                data=held(context.data, SAMPLES) if send else context.data,
                methods=self._methods,
                unit=self._unit,
                threads=1,
                seed=context.seed,
                portable=context.portable,
                goal=context.goal,
            )
        except ModelError as error:
            raise NotRunnable(str(error)) from error

    def _as_run(self, site: FactorSite, drafts: Sequence[Candidate]) -> Iterator[Candidate]:
        """`drafts`, those with zeros at the costs of the sparse operator that they become."""
        timing = self._unit == "ms" and not self._context.portable
        line: list[tuple[int, Timing]] = []  # multiply-adds, and what they take
        between = []
        for draft in drafts:
            one = self.method_of(draft)
            if not isinstance(one, Prune):
                yield draft
                continue
            options = one.options
            knot = options.pattern != "unstructured" or options.sparsity in _KNOTS
            found = self._sparse_form(one, site, "faster" if timing and knot else "always")
            if found is None:
                continue
            run = replace(draft, timing=found.timing, size_bytes=found.size_bytes, macs=found.macs)
            if timing and not knot:
                between.append(run)
                continue
            if run.macs and run.timing and options.pattern == "unstructured":
                line.append((run.macs[1], run.timing))
            yield run
        yield from (replace(run, timing=_on(line, run)) for run in between if run.macs and line)

    def _sparse_form(self, one: Prune, site: FactorSite, when: Literal["faster", "always"]) -> Candidate | None:
        return sparse_form(site, one.project(site.weight), self._context, when)

    def _with_change(self, site: FactorSite, one: Candidate, fit: Candidate) -> Candidate:
        """With what it does to the network; without fragments, which of every strength would be a network's worth."""
        if not one.error:
            return replace(one, network_change=0.0)
        assert self._context.layerwise is not None and fit.before is not None
        try:
            change = self._context.output_change.of(self._context.layerwise.replaced(fit.before), site.key)
        except (ModelError, DataError) as error:
            raise NotRunnable(str(error)) from error
        return replace(one, network_change=change, before=None, after=None)


def _on(line: Sequence[tuple[int, Timing]], run: Candidate) -> Timing:
    """The time of as many multiply-adds as `run` does, between those measured; never beyond them."""
    assert run.macs is not None
    macs, times = zip(*sorted(line, key=lambda point: point[0]), strict=True)
    dense = float(np.median([time.before_ms for time in times]))
    shares = [time.after_ms / time.before_ms if time.before_ms else 1.0 for time in times]
    return Timing(dense, dense * float(np.interp(run.macs[1], macs, shares)))


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """All that another process needs to judge candidates for the layers of a network."""

    model: bytes
    data: Data
    methods: str
    unit: Unit
    threads: int | None
    seed: int
    portable: bool
    goal: Literal["latency", "size"]

    @cached_property
    def weigher(self) -> Weigher:
        """There."""
        return Weigher(self.methods, self.unit, self._context)

    @cached_property
    def sites(self) -> Mapping[str, FactorSite]:
        """By their keys."""
        found = factor_sites(self._context.model, LAYERS)
        return {site.key: site for site in found if isinstance(site, FactorSite)}

    @cached_property
    def _context(self) -> Context:
        model = Model.from_proto(onnx.load_model_from_string(self.model))
        return Context.on_data(
            model, self.data, self.threads, self.seed, portable=self.portable, goal=self.goal, fitting=True
        ).on(model)


def judge_elsewhere(there: Elsewhere, item: tuple[str, Sequence[Candidate]]) -> list[Candidate] | str:
    """`Weigher.judged` for the layer of that key, or why nothing can be told."""
    key, priced = item
    try:
        return there.weigher.judged(there.sites[key], priced)
    except NotRunnable as error:
        return str(error)


def bare(one: Candidate) -> Candidate:
    """Without fragments, as it goes to another process."""
    return replace(one, before=None, after=None)


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
        if all(one.error for one in candidates):
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


@dataclass(frozen=True)
class _Kept:
    """Of a layer."""

    entries: tuple[_Entry, ...]
