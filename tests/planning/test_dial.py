"""How far a pass with a budget may go: where the bound holds, by which loss, in few attempts."""

from collections.abc import Callable, Sequence
from itertools import chain, count
from math import prod
from pathlib import Path

import pytest

from onnxcomp.bound import Trial
from onnxcomp.context import Context
from onnxcomp.dial import COARSER, FINER, Judge, farthest
from onnxcomp.dial import STEPS as COARSE
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Chooser, Dial, Front, FrontPoint, Pass, Picks, Proposal
from onnxcomp.pass_manager import Applied, PassResult, Run
from onnxcomp.store import Shelf, Store
from tests.passes.graphs import model_of

STEPS = COARSE * FINER  # these runs take no time
MODEL = model_of("net (float[1] x) => (float[1] y) { y = Exp (x) }", {})


class Network:
    """Runs whose dials are remembered; each loss holds the bound up to a number of steps.

    What a step uses up of the bound grows by a factor each, the same or one that changes.
    """

    def __init__(
        self,
        changes: float = 1.0,
        target: int | None = None,
        interrupt: int | None = None,
        growth: Callable[[int], float] = lambda _: 1.5,
        used: float = 0.9999,
        losses: Sequence[float] = (),
        end_cost: float = 0.1,
        loss: float | None = None,
        **holds: int,
    ):
        self.holds = holds
        self.growth = growth
        self.used = used  # of the bound, at the last step that holds
        shares = [step / (len(losses) - 1) for step in range(len(losses))]
        points = tuple(FrontPoint(share, end_cost**share, one) for share, one in zip(shares, losses, strict=True))
        self.front = Front("time", points) if points else None
        self.loss = loss
        self.target = target
        self.interrupt = interrupt
        self.store: Store | None = None
        self.layer_change = changes
        self.dials: list[Dial] = []

    def choose(self, _one: Pass, _context: Context, _proposals: Sequence[Proposal], /, dial: Dial) -> Picks:
        if len(self.dials) == self.interrupt:
            raise KeyboardInterrupt
        self.dials.append(dial)
        return []

    def attempt(self, choose: Chooser) -> Run:
        choose(None, None, [])  # type: ignore[arg-type]
        rewrite = Applied("n", "n", ("n",), Candidate("m", error=0.1 if self.dials[-1].share else 0.0), 0.0)
        return Run(MODEL, (PassResult("p", {}, 0.0, (rewrite,), (), (), {}, front=self.front),))

    def strain(self, _run: Run) -> float:
        last = self.dials[-1]
        steps, holds = round(last.share * STEPS), self.holds[last.loss]
        between = prod(self.growth(step) for step in range(min(steps, holds) + 1, max(steps, holds) + 1))
        return self.used * between if steps > holds else self.used / between

    def change(self, _model: Model) -> float:
        return self.layer_change if self.dials[-1].loss == "layer" else 1.0

    def reached(self, _run: Run) -> float:
        assert self.target is not None
        return float(1.2 ** (self.dials[-1].share * STEPS - self.target))

    @property
    def judge(self) -> Judge:
        reached = None if self.target is None else self.reached
        return Judge(self.strain, self.change, reached, "--bound 1", Shelf(self.store, "a search", Trial), self.loss)

    def search(self, *, whole: bool = False) -> tuple[Dial, tuple[str, ...]]:
        found = farthest(self.attempt, self.choose, self.judge, lambda *_: None, whole=whole)
        return found.dial, found.notes


GROWTHS = {
    "even": lambda _: 1.5,
    "flat": lambda _: 1.02,
    "steep": lambda _: 30.0,
    "ever steeper": lambda step: 1 + step / 4,
    "ever flatter": lambda step: 1 + 4 / step,
    "a cliff": lambda step: 1000.0 if step == 6 else 1.001,
}


@pytest.mark.parametrize("growth", GROWTHS)
@pytest.mark.parametrize("steps", range(1, STEPS))
def test_the_farthest_that_holds_by_the_networks_loss(steps: int, growth: str) -> None:
    network = Network(network=steps, layer=0, growth=GROWTHS[growth])
    dial, notes = network.search()
    assert dial == Dial(steps / STEPS, "network") and len(network.dials) <= 8 + STEPS.bit_length()
    assert "not within --bound 1 beyond" in notes[0]


def test_what_steps_use_up_leads_there_sooner_than_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcomp.dial._UNEVEN", 1.0)  # what is tried beyond is another matter
    networks = [
        Network(network=steps, layer=0, growth=lambda _, each=each: each)
        for steps in range(1, STEPS)
        for each in (1.05, 1.09, 1.11, 1.14)
    ]
    for network in networks:
        network.search()
    mean = sum(dial.loss == "network" for network in networks for dial in network.dials) / len(networks)
    assert mean < 5  # no step included; the whole way and halves would be 8


UPS_AND_DOWNS = {21: 1.1, 23: 0.85}  # from a step to the next: misses the bound, then holds it again, up to 25


def test_where_a_try_takes_no_time_steps_beyond_are_tried() -> None:
    network = Network(network=20, layer=0, growth=lambda step: UPS_AND_DOWNS.get(step, 1.02))
    assert network.search()[0] == Dial(25 / STEPS)
    assert len(network.dials) == len(set(network.dials))


def test_steps_beyond_are_tried_by_the_layers_loss_too() -> None:
    network = Network(network=20, layer=23, growth=lambda _: 1.02, changes=2.0)
    assert network.search()[0] == Dial(23 / STEPS, "layer")


@pytest.mark.parametrize(("seconds", "growth"), [(0, 1.3), (10, 1.02)])
def test_no_step_beyond_is_tried_where_that_takes_long_or_one_missed_by_much(
    seconds: int, growth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxcomp.dial.perf_counter", count(step=seconds).__next__)
    network = Network(network=20, layer=0, growth=lambda _: growth)
    assert network.search()[0] == Dial(20 / STEPS)
    assert max(dial.share for dial in network.dials if dial.loss == "layer") <= 21 / STEPS


@pytest.mark.parametrize("growth", [1.02, 1.1, 1.5, 30.0])
@pytest.mark.parametrize("holds", range(FINER, STEPS + 1))
def test_where_a_try_takes_a_while_finer_steps_follow(
    holds: int, growth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxcomp.dial.perf_counter", count(step=10).__next__)
    network = Network(network=holds, layer=0, growth=lambda _: growth)
    dial, _ = network.search()
    assert dial == Dial(holds / STEPS) and len(network.dials) <= 10


def test_finer_steps_go_by_the_layers_loss_where_that_went_farther(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcomp.dial.perf_counter", count(step=10).__next__)
    network = Network(network=20, layer=31, changes=0.9)
    assert network.search()[0] == Dial(31 / STEPS, "layer")


@pytest.mark.parametrize("holds", [STEPS - 3, STEPS - 2, STEPS - 1])
def test_finer_steps_end_with_the_dial(holds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first tries take no time and later ones a while, the farthest can be the last step but one."""
    clock = chain([0.0] * 4, count(step=10.0))
    monkeypatch.setattr("onnxcomp.dial.perf_counter", clock.__next__)
    network = Network(network=holds, layer=0)
    assert network.search()[0] == Dial(holds / STEPS)
    assert max(dial.share for dial in network.dials) <= 1


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("holds", range(FINER * 5, STEPS))
def test_expected_losses_lead_there_in_few_tries(holds: int, noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What they are not proportional to by much, as they were measured on networks: slow at first, then ever faster."""
    monkeypatch.setattr("onnxcomp.dial.perf_counter", count(step=10).__next__)
    growths = [1.12 + 0.001 * step**1.2 + noise * (-1) ** step for step in range(STEPS + 1)]
    losses = [0.0, *(prod(growths[1 : step * FINER]) for step in range(1, COARSE + 1))]
    network = Network(network=holds, layer=0, growth=growths.__getitem__, losses=losses)
    dial, _ = network.search()
    assert 0 <= holds - dial.share * STEPS <= 1 and len(network.dials) <= 7


LOSSES = [0.0, *(0.001 * 1.5**step for step in range(COARSE))]


@pytest.mark.parametrize(("end_cost", "parts"), [(0.9, 1), (0.6, 1), (0.4, 2), (0.3, 3), (0.1, FINER)])
def test_steps_are_as_fine_as_a_timing_tells(end_cost: float, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcomp.dial.perf_counter", count(step=10).__next__)
    for holds in range(FINER, STEPS):
        network = Network(network=holds, layer=0, growth=lambda _: 1.5 ** (1 / FINER), losses=LOSSES, end_cost=end_cost)
        dial, _ = network.search()
        assert dial.share * COARSE == pytest.approx(holds * parts // FINER / parts)
        assert all((one.share * COARSE * parts) % 1 == 0 for one in network.dials)


@pytest.mark.parametrize("step", range(2, COARSE, 2))
def test_the_first_try_is_where_the_bound_is_expected(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcomp.dial.perf_counter", count(step=10).__next__)
    network = Network(network=step * FINER, layer=0, losses=LOSSES, end_cost=0.5, loss=LOSSES[step])
    dial, _ = network.search()
    assert dial.share == network.dials[1].share == step / COARSE


@pytest.mark.parametrize(("loss", "share"), [(1e-9, 1 / 8), (1e9, 1.0), (0.0, 0.5)])
def test_the_first_try_is_on_the_dial(loss: float, share: float) -> None:
    network = Network(network=STEPS, layer=0, losses=LOSSES, loss=loss)
    network.search()
    assert network.dials[1].share == share


@pytest.mark.parametrize(("used", "likely"), [(0.98, False), (0.75, False), (0.6, True)])
@pytest.mark.parametrize("holds", range(1, COARSE // COARSER))
def test_a_step_that_takes_minutes_and_is_likely_to_miss(
    used: float, likely: bool, holds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not tried; which one is the farthest comes out the same."""
    monkeypatch.setattr("onnxcomp.dial.perf_counter", count(step=100).__next__)
    step = COARSER * FINER
    network = Network(network=holds * step, layer=0, growth=lambda _: 1.5 ** (1 / FINER), used=used)
    dial, notes = network.search()
    assert dial == Dial(holds * step / STEPS)
    beyond = [dial for dial in network.dials if dial.share > holds * step / STEPS]
    assert likely <= (Dial((holds + 1) * step / STEPS) in beyond) and len(network.dials) <= 7
    assert notes[0].endswith("not within --bound 1 beyond" + (", as far as can be expected" if not beyond else ""))


@pytest.mark.parametrize("holds", range(1, COARSE // COARSER + 1))
def test_where_a_try_takes_minutes_there_are_fewer_steps(holds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcomp.dial.perf_counter", count(step=100).__next__)
    network = Network(network=holds * COARSER * FINER, layer=0, growth=lambda _: 1.5 ** (1 / FINER))
    dial, _ = network.search()
    assert dial == Dial(holds * COARSER / COARSE) and len(network.dials) <= 5
    assert {one.share * COARSE % COARSER for one in network.dials} == {0}


@pytest.mark.parametrize("growth", [1.5, 1.1, 30.0])
@pytest.mark.parametrize(("seconds", "steps"), [(10, COARSE), (100, COARSE // COARSER)])
@pytest.mark.parametrize("holds", range(1, FINER))
def test_where_the_first_step_is_too_much_a_part_of_it_is_found(
    holds: int, seconds: int, steps: int, growth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnxcomp.dial.perf_counter", count(step=seconds).__next__)
    network = Network(network=holds * STEPS // (FINER * steps), layer=0, growth=lambda _: growth)
    dial, notes = network.search()
    assert dial == Dial(holds / (FINER * steps)) and "not within --bound 1 beyond" in notes[0]
    assert len(network.dials) <= 9


@pytest.mark.parametrize("seconds", [10, 100])
def test_where_no_part_of_the_first_step_holds_it_is_said(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcomp.dial.perf_counter", count(step=seconds).__next__)
    network = Network(network=0, layer=0)
    dial, notes = network.search()
    least = min(one.share for one in network.dials if one.share)
    assert dial.share == 0 and least <= FINER / STEPS / 2
    assert notes[0].startswith(f"not even {least:.0%} of the way") and notes[0].endswith("is within --bound 1")


def test_where_the_target_is_met_by_the_first_step_no_part_of_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcomp.dial.perf_counter", count(step=10).__next__)
    network = Network(network=STEPS, layer=0, target=1)
    dial, _ = network.search()
    assert dial == Dial(1 / COARSE) and all(one.share * COARSE % 1 == 0 for one in network.dials)


def test_where_every_step_misses_by_as_much_it_is_soon_known() -> None:
    network = Network(network=0, layer=0, growth=lambda step: 1.25 if step == 1 else 1.0)
    dial, _ = network.search()
    assert dial == Dial(0.0) and len(network.dials) <= 9


@pytest.mark.parametrize("beyond", [FINER, 2 * FINER])
def test_the_layers_loss_where_it_goes_farther(beyond: int) -> None:
    dial, _ = Network(network=5, layer=5 + beyond, changes=0.9).search()
    assert dial == Dial((5 + beyond) / STEPS, "layer")


@pytest.mark.parametrize(("layer_change", "loss"), [(0.5, "layer"), (1.0, "network"), (2.0, "network")])
def test_all_that_is_asked_for_by_the_loss_that_changes_less(layer_change: float, loss: str) -> None:
    network = Network(network=STEPS, layer=STEPS, changes=layer_change)
    dial, notes = network.search(whole=True)
    assert dial == Dial(1.0, loss) and not notes and len(network.dials) == 3  # type: ignore[arg-type]


def test_the_least_that_layers_cost_is_the_same_by_either_loss() -> None:
    network = Network(network=STEPS, layer=STEPS, changes=0.5)
    assert network.search()[0] == Dial(1.0) and Dial(1.0, "layer") not in network.dials


@pytest.mark.parametrize("target", range(STEPS + 1))
def test_no_farther_than_the_targets_ask(target: int) -> None:
    network = Network(network=STEPS, layer=0, target=target)
    dial, notes = network.search()
    assert dial == Dial(target / STEPS) and not notes and len(network.dials) <= 3 + STEPS.bit_length()


@pytest.mark.parametrize(("target", "holds"), [(9, 5), (STEPS, 1), (STEPS + 1, 12)])
def test_the_bound_goes_before_the_targets(target: int, holds: int) -> None:
    dial, notes = Network(network=holds, layer=0, target=target).search()
    assert dial == Dial(holds / STEPS) and "not within --bound 1 beyond" in notes[0]


def test_the_layers_loss_meets_a_target_with_less_change() -> None:
    network = Network(network=STEPS, layer=STEPS, target=7, changes=0.5)
    assert network.search() == (Dial(7 / STEPS, "layer"), ())


@pytest.mark.parametrize(("attempts", "share"), [(2, 32), (3, 32), (4, 52)])
def test_an_interrupted_search_ends_at_the_best_so_far(attempts: int, share: int) -> None:
    dial, notes = Network(network=52, layer=0, interrupt=attempts).search()
    assert dial == Dial(share / STEPS) and "interrupted" in notes[0]


def test_an_interrupt_before_anything_holds_is_one() -> None:
    with pytest.raises(KeyboardInterrupt):
        Network(network=3, layer=0, interrupt=2).search()


def test_a_search_that_was_broken_off_goes_on_where_it_was(tmp_path: Path) -> None:
    first, second = Network(network=52, layer=0, interrupt=3), Network(network=52, layer=0)
    first.store = second.store = Store(tmp_path / "found.sqlite")
    first.search()
    whole = Network(network=52, layer=0)
    assert second.search() == whole.search()
    assert second.dials == [dial for dial in whole.dials if dial not in first.dials]


def test_steps_that_save_nothing_yet_are_no_end() -> None:
    """Of few layers: the first steps are less than any candidate saves, and those beyond miss the bound."""
    network = Network(network=0, layer=0)

    def coarse(choose: Chooser) -> Run:
        run = network.attempt(choose)
        return run if network.dials[-1].share > 0.5 else Run(MODEL, ())

    found = farthest(coarse, network.choose, network.judge, lambda *_: None)
    assert found.dial == Dial(0.5) and not found.run.changed and "not within --bound 1 beyond" in found.notes[0]


def test_three_attempts_where_there_is_nothing_to_choose_from() -> None:
    network = Network(network=0, layer=0)

    def unchanged(choose: Chooser) -> Run:
        network.attempt(choose)
        return Run(MODEL, ())

    found = farthest(unchanged, network.choose, network.judge, lambda *_: None)
    assert len(network.dials) == 3 and not found.run.changed
