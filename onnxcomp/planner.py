"""Which candidate goes where.

Candidates carry their cost, measured on this machine; one that does not pay is declined with the figures. A dense Conv
in ONNX Runtime works on a blocked layout and an operator of ours on NCHW, so whether a layer pays depends on what its
neighbours do: `fastest` decides for all layers of a pass at once, conversions counted (borders.py). Times of parts do
not quite add up to a network's, so `unhurried` is the answer where `fastest` does not make the whole network faster.
"""

import math
from collections.abc import Sequence

from onnxcomp.borders import Choice, leaving
from onnxcomp.context import Context, Timing
from onnxcomp.convolution import is_standard
from onnxcomp.cost.layout import Layouts, Role
from onnxcomp.pass_api import BudgetPass, Candidate, Declined, Dial, Pass, Picks, Proposal, Site

_WHOLE = Dial()
WORTHWHILE = 0.95  # share of the dense time that a candidate must stay under: timings repeat to about 5 %


def fastest(one: Pass, context: Context, proposals: Sequence[Proposal], dial: Dial = _WHOLE) -> Picks:
    """What makes the network fastest by the measured times of its parts; what cannot be slower is always taken.

    Passes that choose under a budget do so themselves, as far as `dial` says.
    """
    if isinstance(one, BudgetPass):
        return one.allocate(context, proposals, dial)
    picks = [_free(proposal) or _alone(proposal.site, proposal.candidates) for proposal in proposals]
    if all(_free(proposal) for proposal in proposals):
        return picks
    layouts = context.layouts
    open_ = {
        index: choice
        for index, proposal in enumerate(proposals)
        if not _free(proposal) and (choice := _choice(proposal, layouts))
    }
    for (index, choice), leaves in zip(open_.items(), leaving(context, layouts, list(open_.values())), strict=True):
        picks[index] = _pick(proposals[index], choice, leaves)
    return picks


def unhurried(one: Pass, context: Context, proposals: Sequence[Proposal], dial: Dial = _WHOLE) -> Picks:
    """Only what cannot be slower by construction: the answer left where no measured choice pays in the network."""
    if isinstance(one, BudgetPass) and all(_free(proposal) for proposal in proposals):
        return one.allocate(context, proposals, dial)
    return [
        _free(proposal)
        or Declined(proposal.site.name, f"{proposal.candidates[0].method} does not pay in the network as a whole")
        for proposal in proposals
    ]


def _free(proposal: Proposal) -> Candidate | None:
    """The first candidate that cannot be slower by construction."""
    return next((candidate for candidate in proposal.candidates if candidate.timing is None), None)


def _alone(site: Site, candidates: Sequence[Candidate]) -> Candidate | Declined:
    """The fastest candidate, where it beats what stands there and no layout is at stake. All are timed."""
    best = min(candidates, key=_cost_ms)
    return best if _cost_ms(best) < _dense_ms(best) else Declined(site.name, _figures(best))


def _choice(proposal: Proposal, layouts: Layouts) -> Choice | None:
    """The choice between layouts that the candidates offer, None where the site or all of them stay in theirs."""
    conv, *fused = proposal.site.nodes
    leaving_, staying = _by_layout(proposal.candidates)
    if not leaving_ or not is_standard(conv, "Conv") or layouts.role(conv) is Role.PLAIN:
        return None
    blocks_ms = min(_dense_ms(leaving_[0]), *map(_cost_ms, staying), math.inf)
    return Choice(conv, tuple(fused), blocks_ms, min(map(_cost_ms, leaving_)))


def _pick(proposal: Proposal, choice: Choice, leaves: bool) -> Candidate | Declined:
    leaving_, staying = _by_layout(proposal.candidates)
    best = min(leaving_, key=_cost_ms)
    if leaves:
        return best
    kept = _alone(proposal.site, staying) if staying else None
    if isinstance(kept, Candidate):
        return kept
    why = "; the conversions around it would take more than it gains" if choice.nchw_ms < choice.blocks_ms else ""
    return Declined(proposal.site.name, _figures(best) + why)


def _by_layout(candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """Those with operators of other domains, which know NCHW only, and those of standard operators."""
    leaving_: list[Candidate] = []
    staying: list[Candidate] = []
    for candidate in candidates:
        stays = candidate.after is None or candidate.after.is_standard
        (staying if stays else leaving_).append(candidate)
    return leaving_, staying


def _cost_ms(candidate: Candidate) -> float:
    """Its time and what it must gain at least, so that noise alone rewrites nothing."""
    timing = _timing(candidate)
    return timing.after_ms + (1 - WORTHWHILE) * timing.before_ms


def _dense_ms(candidate: Candidate) -> float:
    return _timing(candidate).before_ms


def _timing(candidate: Candidate) -> Timing:
    assert candidate.timing is not None, "what is free was taken before"
    return candidate.timing


def _figures(candidate: Candidate) -> str:
    timing = _timing(candidate)
    return f"{candidate.method} takes {timing.after_ms:.3f} ms, the dense node {timing.before_ms:.3f} ms"
