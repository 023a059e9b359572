"""Which candidate goes where.

Candidates carry their cost, measured on this machine; one that does not pay is declined with the figures. A dense Conv
in ONNX Runtime works on a blocked layout, so a sparse operator between dense neighbours adds a conversion at each
border: whether a layer pays depends on its neighbours. Several answers are therefore tried on the whole network and the
fastest is kept: `cheapest` counts no border (right where neighbours turn sparse too), `cautious` counts both.
`unhurried` is the answer where neither makes the network faster.
"""

from collections.abc import Sequence

from onnxcomp.pass_api import Candidate, Declined, Site

WORTHWHILE = 0.95  # share of the dense time that a candidate must stay under: timings repeat to about 5 %


def cheapest(_name: str, site: Site, candidates: Sequence[Candidate]) -> Candidate | Declined:
    """The fastest candidate that beats what stands there, borders not counted."""
    return _choose(site, candidates, border_share=0.0)


def cautious(_name: str, site: Site, candidates: Sequence[Candidate]) -> Candidate | Declined:
    """The fastest candidate that beats what stands there even between two dense neighbours."""
    return _choose(site, candidates, border_share=1.0)


def unhurried(_name: str, site: Site, candidates: Sequence[Candidate]) -> Candidate | Declined:
    """Only what cannot be slower by construction: the answer left where no measured choice pays in the network."""
    free = [candidate for candidate in candidates if candidate.timing is None]
    return free[0] if free else Declined(site.name, f"{candidates[0].method} does not pay in the network as a whole")


def _choose(site: Site, candidates: Sequence[Candidate], border_share: float) -> Candidate | Declined:
    def cost_ms(candidate: Candidate) -> float:
        timing = candidate.timing
        return 0.0 if timing is None else timing.after_ms + border_share * timing.border_ms

    best = min(candidates, key=cost_ms)
    if best.timing is None or cost_ms(best) < WORTHWHILE * best.timing.before_ms:
        return best
    borders = f", {best.timing.border_ms:.3f} ms of them at dense borders" if border_share else ""
    return Declined(
        site.name, f"{best.method} takes {cost_ms(best):.3f} ms{borders}, the dense node {best.timing.before_ms:.3f} ms"
    )
