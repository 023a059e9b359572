"""Which candidate goes to a site, by its times alone."""

import onnx_graphsurgeon as gs
import pytest

from onnxcomp.context import Timing
from onnxcomp.pass_api import Candidate, Chooser, Declined, Site
from onnxcomp.planner import WORTHWHILE, cautious, cheapest, unhurried

SITE = Site((gs.Node("Conv", "conv", outputs=[gs.Variable("y")]),))


def timed(after_ms: float, border_ms: float = 0.0, before_ms: float = 1.0) -> Candidate:
    return Candidate(f"takes {after_ms} + {border_ms}", timing=Timing(before_ms, after_ms, border_ms))


FREE = Candidate("free")
CHOOSERS: tuple[Chooser, ...] = (cheapest, cautious, unhurried)


@pytest.mark.parametrize("choose", CHOOSERS)
def test_what_cannot_be_slower_is_always_taken(choose: Chooser) -> None:
    assert choose("pass", SITE, [timed(0.5, 0.1), FREE]) is FREE


@pytest.mark.parametrize(
    ("choose", "candidates", "chosen"),
    [
        (cheapest, [timed(0.6, 0.0), timed(0.5, 0.9)], 1),
        (cautious, [timed(0.6, 0.0), timed(0.5, 0.9)], 0),
        (cautious, [timed(0.5, 0.1), timed(0.6, 0.1)], 0),
        (cheapest, [timed(WORTHWHILE - 1e-6)], 0),
    ],
)
def test_the_fastest_is_taken(choose: Chooser, candidates: list[Candidate], chosen: int) -> None:
    assert choose("pass", SITE, candidates) is candidates[chosen]


@pytest.mark.parametrize(
    ("choose", "candidate", "words"),
    [
        (cheapest, timed(WORTHWHILE), "takes 0.950 ms, the dense node 1.000 ms"),
        (cheapest, timed(2.0), "takes 2.000 ms, the dense node 1.000 ms"),
        (cautious, timed(0.5, 0.5), "takes 1.000 ms, 0.500 ms of them at dense borders, the dense node 1.000 ms"),
        (unhurried, timed(0.1), "does not pay in the network as a whole"),
    ],
)
def test_what_does_not_pay_is_declined_with_the_figures(choose: Chooser, candidate: Candidate, words: str) -> None:
    declined = choose("pass", SITE, [candidate])
    assert isinstance(declined, Declined)
    assert declined.node == "conv" and words in declined.reason
