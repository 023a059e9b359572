"""compress: give each layer one of several methods, at one of several strengths, under one budget for all.

    Conv, Gemm or MatMul    becomes    the same with zeros (prune), or its factors (penni, kronecker), or stays

Every method is fitted to each layer at several strengths, as if it were the only one to change (layerwise.py), and two
losses are taken down: the relative error of the layer's output, and what it does to the network's (sensitivity.py). A
multiple-choice knapsack (numerics/allocation.py) then chooses for all layers at once what loses least of all that takes
so much less

    time          measured here, pruned layers as the sparse operator that sparse-conv and sparse-gemm put there
    bytes         where the goal is size
    multiply-adds where `macs` asks for a share of the dense network's

and the choice is fitted once more, front to back, each layer to what those before it left. How far to go is what the
bound on accuracy allows, found by bisection (onnxcomp/dial.py); allocations by either loss are tried.

Applies where prune, penni and kronecker do, and needs data. Passes behind it make zeros fast:
`fold-batchnorm,compress,sparse-conv,sparse-gemm`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from onnxcomp.analysis import layers_of
from onnxcomp.context import Context, NotRunnable
from onnxcomp.errors import DataError, ModelError
from onnxcomp.formats.functions import MIN_OPSET
from onnxcomp.layerwise import LayerProblem
from onnxcomp.numerics.allocation import allocate
from onnxcomp.pass_api import BudgetPass, Candidate, Declined, Dial, Picks, Proposal, Site
from onnxcomp_passes.factor_sites import FactorSite
from onnxcomp_passes.layers import LAYERS
from onnxcomp_passes.prune import Prune
from onnxcomp_passes.sparse_form import sparse_form
from onnxcomp_passes.stand_in import StandInOptions, StandInPass, problem_of, why_not_here
from onnxcomp_passes.strengths import METHODS
from onnxcomp_passes.worth import Unit, costs_of, loss_of, ratio, unbeaten

_WORDS: Mapping[Unit, str] = MappingProxyType({"ms": "time", "bytes": "bytes", "macs": "multiply-adds"})
_LEAST = 1e-4  # of the dense layers' cost, to have a ratio where next to nothing is left of it
_AS = "as"  # the option that tells which method, at which strength, a candidate is of


class CompressOptions(StandInOptions):
    """Options of compress."""

    methods: str = Field("+".join(METHODS), description="what to choose from, joined by +")
    macs: float | None = Field(
        None, gt=0, lt=1, description="multiply-adds to come down to, as a share of the dense network's, or near to it"
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, text: str) -> str:
        unknown = [name for name in text.split("+") if name not in METHODS]
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

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """Every method at every strength, with its cost and losses, but those that others beat in both."""
        assert isinstance(site, FactorSite)
        refusal = why_not_here(site, context) or site.why_not_approximated(on_data=True)
        if refusal:
            yield Declined(site.name, refusal)
        elif not context.measuring:
            yield from self._drafts(site, context)
        else:
            key = f"{self.text()} {self._unit(context)} {_digest(context)} {site.key}"
            found = context.once(key, lambda: self._weighed(site, context))
            yield from found
            if not found:
                yield Declined(site.name, f"no method would save any {_WORDS[self._unit(context)]}")

    def fitted(self, site: FactorSite, candidate: Candidate, problem: LayerProblem, context: Context) -> Candidate:
        """By the candidate's own method."""
        one = next(one for one in self._passes(context) if one.text() == candidate.options[_AS])
        return one.fitted(site, candidate, problem, context)

    def allocate(self, context: Context, proposals: Sequence[Proposal], dial: Dial) -> Picks:
        """What loses least, by the dial's loss, of all that costs little enough.

        From what the dense layers cost, down to the least that they can or to what is asked for, every step of the dial
        is the same ratio: as much speed gained.
        """
        unit = self._unit(context)
        costs = [costs_of(proposal, unit) for proposal in proposals]
        losses = [np.array([0.0, *(loss_of(one, dial) for one in proposal.candidates)]) for proposal in proposals]
        dense, least = float(sum(cost[0] for cost in costs)), float(sum(cost.min() for cost in costs))
        aim = max(least, self._aim(context, dense), _LEAST * dense)
        chosen = allocate(costs, losses, dense * (aim / dense) ** dial.share if dense else 0.0)
        return [
            proposal.candidates[index - 1]
            if index
            else Declined(proposal.site.name, "in other layers as much is saved at a smaller loss")
            for proposal, index in zip(proposals, chosen, strict=True)
        ]

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

    def _passes(self, context: Context) -> list[StandInPass]:
        unit = self._unit(context)
        return [one for name in self.options.methods.split("+") for one in METHODS[name].passes(unit)]

    def _drafts(self, site: FactorSite, context: Context) -> Iterator[Candidate]:
        """Of every method that takes the layer, fitted to its weight alone; none told twice."""
        told = []
        for one in self._passes(context):
            if site.nodes[0].op not in one.readers or one.why_not(site):
                continue
            for draft in one.propose(site, context):
                if isinstance(draft, Candidate) and (draft.method, draft.options) not in told:
                    told.append((draft.method, draft.options))
                    yield replace(draft, options={**draft.options, _AS: one.text()})

    def _weighed(self, site: FactorSite, context: Context) -> list[Candidate]:
        """The candidates that can be worth choosing, with costs and losses, and without what `refine` makes anew."""
        unit = self._unit(context)
        problem = problem_of(site, context, sequential=False)
        cheapest: dict[str, Candidate] = {}  # of each method and strength
        for draft in self._drafts(site, context):
            one = self._as_run(site, draft, context)
            other = cheapest.get(one.options[_AS])
            if ratio(one, unit) < (1.0 if other is None else ratio(other, unit)):
                cheapest[one.options[_AS]] = one
        fits = []
        for one in cheapest.values():
            fit = self.fitted(site, one, problem, context) if one.error else one
            fits.append((replace(one, output_error=fit.output_error if one.error else 0.0), fit))
        return [self._with_change(one, fit, context) for one, fit in unbeaten(fits, unit)]

    def _as_run(self, site: FactorSite, draft: Candidate, context: Context) -> Candidate:
        """`draft` with the costs of what passes behind this one make of it."""
        one = next(one for one in self._passes(context) if one.text() == draft.options[_AS])
        if not isinstance(one, Prune):
            return draft
        found = self._sparse_form(one, site, context)
        return replace(draft, timing=found.timing, size_bytes=found.size_bytes, macs=found.macs) if found else draft

    def _sparse_form(self, one: Prune, site: FactorSite, context: Context) -> Candidate | None:
        """What becomes of the layer with the zeros of `one`; timed once for layers alike, which networks repeat."""
        when: Literal["faster", "always"] = (
            "faster" if self._unit(context) == "ms" and not context.portable else "always"
        )
        shapes = [context.shapes.get(tensor.name) for node in site.fused for tensor in node.inputs]
        alike = f"{one.text()} {when} {[node.op for node in site.fused]} {site.walk} {shapes}"
        return context.once(alike, lambda: sparse_form(site, one.project(site.weight), context, when))

    def _with_change(self, one: Candidate, fit: Candidate, context: Context) -> Candidate:
        """With what it does to the network; without fragments, which of every strength would be a network's worth."""
        if not one.error:
            return replace(one, network_change=0.0)
        assert context.layerwise is not None and fit.before is not None
        try:
            change = context.output_change.of(context.layerwise.replaced(fit.before))
        except (ModelError, DataError) as error:
            raise NotRunnable(str(error)) from error
        return replace(one, network_change=change, before=None, after=None)


def _digest(context: Context) -> str:
    """Of the network. Raises NotRunnable where it is too large for ONNX Runtime to be given."""
    try:
        return context.digest
    except ModelError as error:
        raise NotRunnable(str(error)) from error
