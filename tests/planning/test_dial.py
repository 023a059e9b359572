"""How far a pass with a budget may go: where the bound holds, by which loss, in few attempts."""

from collections.abc import Sequence

import pytest

from onnxcomp.context import Context
from onnxcomp.dial import STEPS, farthest
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Chooser, Dial, Pass, Picks, Proposal
from onnxcomp.pass_manager import Applied, PassResult, Run
from tests.passes.graphs import model_of

MODEL = model_of("net (float[1] x) => (float[1] y) { y = Exp (x) }", {})


class Network:
    """Runs whose dials are remembered; each loss holds the bound up to a number of steps."""

    def __init__(self, changes: float = 1.0, **holds: int) -> None:
        self.holds = holds
        self.layer_change = changes
        self.dials: list[Dial] = []

    def choose(self, _one: Pass, _context: Context, _proposals: Sequence[Proposal], /, dial: Dial) -> Picks:
        self.dials.append(dial)
        return []

    def attempt(self, choose: Chooser) -> Run:
        choose(None, None, [])  # type: ignore[arg-type]
        rewrite = Applied("n", "n", ("n",), Candidate("m", error=0.1 if self.dials[-1].share else 0.0), 0.0)
        return Run(MODEL, (PassResult("p", {}, 0.0, (rewrite,), (), (), {}),))

    def missed(self, _run: Run) -> str | None:
        last = self.dials[-1]
        return None if last.share * STEPS <= self.holds[last.loss] else "too far"

    def change(self, _model: Model) -> float:
        return self.layer_change if self.dials[-1].loss == "layer" else 1.0

    def search(self) -> tuple[Dial, tuple[str, ...]]:
        found = farthest(self.attempt, self.choose, self.missed, self.change, "--bound 1", lambda *_: None)
        return found.dial, found.notes


@pytest.mark.parametrize("steps", range(1, STEPS))
def test_the_farthest_that_holds_by_the_networks_loss(steps: int) -> None:
    network = Network(network=steps, layer=0)
    dial, notes = network.search()
    assert dial == Dial(steps / STEPS, "network") and len(network.dials) <= 2 + STEPS.bit_length()
    assert "not within --bound 1 beyond" in notes[0]


@pytest.mark.parametrize("beyond", [1, 2])
def test_the_layers_loss_where_it_goes_farther(beyond: int) -> None:
    dial, _ = Network(network=5, layer=5 + beyond, changes=0.9).search()
    assert dial == Dial((5 + beyond) / STEPS, "layer")


@pytest.mark.parametrize(("layer_change", "loss"), [(0.5, "layer"), (1.0, "network"), (2.0, "network")])
def test_all_that_is_asked_for_by_the_loss_that_changes_less(layer_change: float, loss: str) -> None:
    network = Network(network=STEPS, layer=STEPS, changes=layer_change)
    dial, notes = network.search()
    assert dial == Dial(1.0, loss) and not notes and len(network.dials) == 2  # type: ignore[arg-type]


def test_nothing_where_no_step_holds() -> None:
    dial, _ = Network(network=0, layer=0).search()
    assert dial.share == 0


def test_steps_that_save_nothing_yet_are_no_end() -> None:
    """Of few layers: the first steps are less than any candidate saves, and those beyond miss the bound."""
    network = Network(network=0, layer=0)

    def coarse(choose: Chooser) -> Run:
        run = network.attempt(choose)
        return run if network.dials[-1].share > 0.5 else Run(MODEL, ())

    found = farthest(coarse, network.choose, network.missed, network.change, "--bound 1", lambda *_: None)
    assert found.dial == Dial(0.5) and not found.run.changed and "not within --bound 1 beyond" in found.notes[0]


def test_one_attempt_where_there_is_nothing_to_choose_from() -> None:
    network = Network(network=0, layer=0)

    def unchanged(choose: Chooser) -> Run:
        network.attempt(choose)
        return Run(MODEL, ())

    found = farthest(unchanged, network.choose, network.missed, network.change, "", lambda *_: None)
    assert len(network.dials) == 1 and not found.run.changed
