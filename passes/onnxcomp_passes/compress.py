"""compress: give each layer one of several methods, at one of several strengths, under one budget for all.

    Conv, Gemm or MatMul    becomes    the same with zeros (prune), its factors (penni, kronecker), or blocks of one
                                       magnitude (unify), or stays

Every method is fitted to each layer at several strengths, as if it were the only one to change (layerwise.py), and two
losses are taken down: the relative error of the layer's output, and what it does to the network's (sensitivity.py). A
multiple-choice knapsack (numerics/allocation.py) then chooses for all layers at once what loses least of all that takes
so much less

    time          measured here, pruned layers as what shrink, sparse-conv and sparse-gemm put there
    bytes         where the goal is size
    multiply-adds where `macs` asks for a share of the dense network's

and the choice is fitted once more, front to back, each layer to what those before it left. How far to go is what the
targets ask for and the bound on accuracy allows, found in a few tries (onnxcomp/dial.py), by either loss. What was
found out of the layers is kept for later runs.

Applies where its methods do, and needs data. Passes behind it make zeros fast:
`fold-batchnorm,compress,shrink{align=16},sparse-conv,sparse-gemm`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from pydantic import Field, field_validator

from onnxcomp.analysis import layers_of
from onnxcomp.borders import conversions
from onnxcomp.context import Context, NotRunnable
from onnxcomp.convolution import is_standard
from onnxcomp.cost.layout import Layouts, Role
from onnxcomp.formats.functions import MIN_OPSET
from onnxcomp.layerwise import LayerProblem
from onnxcomp.numerics.allocation import Joint, allocate, cheapest, total
from onnxcomp.pass_api import (
    BudgetPass,
    Candidate,
    Declined,
    Dial,
    Front,
    FrontPoint,
    Picks,
    Progress,
    Proposal,
    Site,
)
from onnxcomp_passes.factor_sites import FactorSite
from onnxcomp_passes.layers import LAYERS
from onnxcomp_passes.stand_in import StandInOptions, StandInPass, why_not_here
from onnxcomp_passes.strengths import METHODS, methods_for
from onnxcomp_passes.weighing import AS, AS_IT_IS, Item, Ledger, Weigher, judge_elsewhere
from onnxcomp_passes.worth import Unit, costs_of, loss_of

_WORDS: Mapping[Unit, str] = MappingProxyType({"ms": "time", "bytes": "bytes", "macs": "multiply-adds"})
_NOTHING = "no layer was to be changed: the targets are met without, or the bound allows none"
_LONG = 0.05  # of the work on all layers
_STEPS = 16  # of the front that reports show
_LEAST = 1e-4  # of the dense layers' cost, to have a ratio where next to nothing is left of it


class CompressOptions(StandInOptions):
    """Options of compress."""

    methods: str | None = Field(
        None, description=f"what to choose from, joined by +: {', '.join(METHODS)}; by default all that may pay"
    )
    macs: float | None = Field(
        None, gt=0, lt=1, description="multiply-adds to come down to, as a share of the dense network's, or near to it"
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, text: str | None) -> str | None:
        unknown = [] if text is None else [name for name in text.split("+") if name not in METHODS]
        if unknown:
            raise ValueError(f"'{unknown[0]}' is no method; join some of {', '.join(METHODS)} by +")
        return text


class Compress(StandInPass, BudgetPass):
    """Give each layer one of several methods, under one budget."""

    name = "compress"
    summary = "choose for each layer one of several methods, under one budget, by what it costs the network"
    Options = CompressOptions
    min_opset = MIN_OPSET
    needs_data = True
    options: CompressOptions
    readers = LAYERS

    @property
    def aimed(self) -> bool:
        """Where multiply-adds are asked for."""
        return self.options.macs is not None

    def prepare(self, sites: Sequence[Site], context: Context, progress: Progress) -> None:
        """Find out what every method at every strength costs and loses at each site, unless an earlier run did.

        Times are taken one after the other, then the losses by as many processes as there are.
        """
        open_ = {site.key: site for site in sites if isinstance(site, FactorSite) and not _why_not(site, context)}
        if context.measuring and open_:
            found = self._findings(context)
            waiting = {key: site for key, site in open_.items() if key not in found}
            if waiting:  # none, from the second run of a search on
                found.update(_weighed(waiting, self._methods(context), self._unit(context), context, progress))

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """Every method at every strength, with its cost and losses, but those that others beat in both."""
        assert isinstance(site, FactorSite)
        refusal = _why_not(site, context)
        if refusal:
            yield Declined(site.name, refusal)
            return
        unit = self._unit(context)
        if not context.measuring:
            yield from Weigher(self._methods(context), unit, context).drafts(site)
            return
        self.prepare([site], context, lambda *_: None)
        found = self._findings(context)[site.key]
        if isinstance(found, str):
            raise NotRunnable(found)
        yield from found
        if not found:
            yield Declined(site.name, f"no method would save any {_WORDS[unit]}")

    def fitted(self, site: FactorSite, candidate: Candidate, problem: LayerProblem, context: Context) -> Candidate:
        """By the candidate's own method."""
        one = Weigher(self._methods(context), self._unit(context), context).method_of(candidate)
        return one.fitted(site, candidate, problem, context)

    def allocate(self, context: Context, proposals: Sequence[Proposal], dial: Dial) -> Picks:
        """What loses least, by the dial's loss, of all that costs little enough.

        From what the dense layers cost, down to the least that they can or to what is asked for, every step of the dial
        is the same ratio: as much speed gained.
        """
        chosen = self._knapsack(context, proposals, dial).filled(dial.share)
        why = "in other layers as much is saved at a smaller loss" if dial.share else _NOTHING
        return [_pick(proposal, index, why) for proposal, index in zip(proposals, chosen, strict=True)]

    def front(self, context: Context, proposals: Sequence[Proposal]) -> Front | None:
        """Costs and losses to the network as they were found layer by layer, summed, at sixteen steps of the dial."""
        if not context.measuring or not proposals:
            return None

        def found() -> Front:
            knapsack = self._knapsack(context, proposals, Dial())
            points = tuple(knapsack.point(step / _STEPS) for step in range(_STEPS + 1))
            return Front(_WORDS[self._unit(context)], points)

        return context.once(f"front of {self.text()} {context.digest}", found)

    def _knapsack(self, context: Context, proposals: Sequence[Proposal], dial: Dial) -> "_Knapsack":
        unit = self._unit(context)
        costs = [costs_of(proposal, unit) for proposal in proposals]
        losses = [np.array([0.0, *(loss_of(one, dial) for one in proposal.candidates)]) for proposal in proposals]
        joint = _joint(context, proposals) if unit == "ms" and not context.portable else None
        dense, least = total(costs, [0] * len(costs)), total(costs, cheapest(costs, losses, joint), joint)
        return _Knapsack(costs, losses, joint, dense, max(least, self._aim(context, dense), _LEAST * dense))

    def _aim(self, context: Context, dense: float) -> float:
        """What the layers that `dense` is the cost of are to come down to; 0: as far as they can."""
        if self.options.macs is None:
            return 0.0
        whole = sum(layer.macs or 0 for layer in layers_of(context.model, context.shapes))
        return self.options.macs * whole - (whole - dense)

    def _unit(self, context: Context) -> Unit:
        if self.options.macs is not None:
            return "macs"
        return "bytes" if context.goal == "size" else "ms"

    def _methods(self, context: Context) -> str:
        return methods_for(self.options.methods, self._unit(context), portable=context.portable)

    def _findings(self, context: Context) -> "dict[str, _Finding]":
        """What was found so far of the layers, by their keys: the same for all runs of a search."""
        question = f"{self._methods(context)} {self._unit(context)} {context.digest}"
        return context.once(question, dict[str, _Finding])


@dataclass(frozen=True, eq=False)
class _Knapsack:
    """A choice for all layers: what the dense ones cost, and what they are to come down to at the end of the dial."""

    costs: Sequence[NDArray[np.float64]]
    losses: Sequence[NDArray[np.float64]]
    joint: Joint | None
    dense: float
    aim: float

    def filled(self, share: float) -> list[int]:
        """What each layer gets, 0 being the dense one, `share` of the way."""
        limit = self.dense * (self.aim / self.dense) ** share if self.dense else 0.0
        return allocate(self.costs, self.losses, limit, self.joint)

    def point(self, share: float) -> FrontPoint:
        """What that costs and loses."""
        chosen = self.filled(share)
        cost = total(self.costs, chosen, self.joint) / self.dense if self.dense else 1.0
        return FrontPoint(share, cost, total(self.losses, chosen))


_Finding = list[Candidate] | str
"""What can be worth choosing for a layer, or why nothing can be told."""


def _pick(proposal: Proposal, index: int, why_dense: str) -> Candidate | Declined:
    """By the index into the dense layer and the candidates."""
    if not index:
        return Declined(proposal.site.name, why_dense)
    one = proposal.candidates[index - 1]
    if one.options.get(AS) == AS_IT_IS:
        return Declined(proposal.site.name, "what its own zeros save is enough")
    return one


def _joint(context: Context, proposals: Sequence[Proposal]) -> Joint:
    """What conversions between layouts cost, wherever candidates run on NCHW and what is around them does not."""
    layouts = context.layouts
    sites = [proposal.site for proposal in proposals]
    open_ = [(site.nodes[0], _fused(site)[1:]) for site in sites if _is_blocked(layouts, site)]
    names = [id(site.nodes[0]) if _is_blocked(layouts, site) else None for site in sites]
    sides = [np.array([False, *(one.nchw for one in proposal.candidates)]) for proposal in proposals]
    return Joint(conversions(context, layouts, open_), names, sides)


def _fused(site: Site) -> Sequence[gs.Node]:
    return site.fused if isinstance(site, FactorSite) else site.nodes


def _is_blocked(layouts: Layouts, site: Site) -> bool:
    """Whether it is a Conv that stays in blocks where nothing is done to it."""
    return is_standard(site.nodes[0], "Conv") and layouts.role(site.nodes[0]) in (Role.BLOCKED, Role.ENTERS)


def _why_not(site: FactorSite, context: Context) -> str | None:
    return why_not_here(site, context) or site.why_not_approximated(on_data=True)


def _weighed(
    sites: Mapping[str, FactorSite], methods: str, unit: Unit, context: Context, progress: Progress
) -> Iterator[tuple[str, _Finding]]:
    """The finding for each site, by its key."""
    assert context.layerwise is not None, "there is data"
    weigher = Weigher(methods, unit, context)
    prices, losses = (Ledger(context, f"{what} {methods} {unit}") for what in ("prices", "losses"))
    found_before = {key: kept for key in sites if (kept := losses.get(key)) is not None}
    yield from found_before.items()
    open_ = {key: site for key, site in sites.items() if key not in found_before}
    progress("compress: costs", 0, len(open_))
    moments = _shared_moments(list(open_), context)
    priced: dict[str, list[Candidate]] = {}
    for done, (key, site) in enumerate(open_.items()):
        progress("compress: costs", done, len(open_))
        if key in moments:
            context.layerwise.give(key, moments[key].read())
        try:
            priced[key] = prices.get(key) or weigher.priced(site)
        except NotRunnable as error:
            yield key, str(error)
            continue
        prices.put(key, priced[key])
    progress("compress: losses", 0, len(priced))
    for done, (key, found) in enumerate(_judged(open_, priced, moments, weigher, context)):
        progress("compress: losses", done + 1, len(priced))
        if not isinstance(found, str):
            losses.put(key, found)
        yield key, found


def _judged(
    sites: Mapping[str, FactorSite],
    priced: Mapping[str, list[Candidate]],
    moments: Mapping[str, Any],
    weigher: Weigher,
    context: Context,
) -> Iterator[tuple[str, _Finding]]:
    """By the context's workers, which have `moments` of them shared, or here where there are none."""
    assert context.layerwise is not None, "there is data"
    context.layerwise.forget(ahead=True)  # hundreds of megabytes
    if context.workers is None:
        for key, candidates in priced.items():
            try:
                yield key, weigher.judged(sites[key], candidates)
            except NotRunnable as error:
                yield key, str(error)
        return
    try:
        there = weigher.elsewhere()
    except NotRunnable as error:
        yield from ((key, str(error)) for key in priced)
        return
    items = [
        Item(key, [replace(one, before=None, after=None) for one in priced[key]], moments.get(key))
        for key in long_first({key: sites[key] for key in priced})
    ]
    for item, found in context.workers.each(judge_elsewhere, there, items):
        yield item.key, found if isinstance(found, str) else [_whole(one, priced[item.key]) for one in found]


def _shared_moments(keys: Sequence[str], context: Context) -> dict[str, Any]:
    """Of the inputs of layers by their keys, gathered once for this process and others here, where there are any.

    What is not there each gathers itself.
    """
    assert context.layerwise is not None, "there is data"
    if context.workers is None or context.workers.remote:
        return {}
    found = context.layerwise.gathered(keys)
    return {key: context.workers.share(found.pop(key)) for key in list(found)}


def long_first(sites: Mapping[str, FactorSite]) -> list[str]:
    """The keys in the graph's order, but first those of layers that take long: else one process ends alone with them.

    Only these, because the network is run from one layer to the next.
    """
    work = {key: site.weight.size * site.groups[0][0].size for key, site in sites.items()}  # C_out Q^2
    return sorted(sites, key=lambda key: work[key] <= _LONG * sum(work.values()))


def _whole(found: Candidate, priced: Sequence[Candidate]) -> Candidate:
    """With the fragments that it had, where it is exact; what changes weights is fitted anew."""
    own = next(one for one in priced if one.options[AS] == found.options[AS])
    return found if found.error else replace(found, before=own.before, after=own.after)
