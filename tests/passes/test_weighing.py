"""What candidates cost and lose: the same here and in other processes, kept for later runs, never guessed beyond."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from onnxcomp.context import Context
from onnxcomp.fragment import Fragment
from onnxcomp.pass_api import Candidate, Declined, Dial, Proposal, Site
from onnxcomp.store import Store
from onnxcomp.workers import Workers, cluster, local
from onnxcomp_passes.compress import Compress, CompressOptions
from onnxcomp_passes.factor_sites import FactorSite
from onnxcomp_passes.prune import Prune
from onnxcomp_passes.weighing import Ledger, Weigher
from tests.passes.factors import dense, shared_basis
from tests.passes.test_compress import SHAPES, context_of, net
from tests.planning.dask_cluster import running

ONE = Compress(CompressOptions(macs=0.5, methods="prune+penni"))


@pytest.fixture(params=["local", "cluster"])
def processes(request: pytest.FixtureRequest) -> Iterator[Workers]:
    """Two of them, here or of a Dask cluster."""
    if request.param == "local":
        with local(2) as found:
            yield found
        return
    with running() as address, cluster(address) as found:
        yield found


def proposed(context: Context, interrupt_at: str | None = None) -> dict[str, list[Candidate]]:
    """What compress proposes for each layer."""
    sites = [site for site in ONE.match(context.model) if isinstance(site, Site)]

    def tell(stage: str, done: int, _total: int) -> None:
        if f"{stage} {done}" == interrupt_at:
            raise KeyboardInterrupt

    ONE.prepare(sites, context, tell)
    return {site.name: [c for c in ONE.propose(site, context) if isinstance(c, Candidate)] for site in sites}


def told(found: dict[str, list[Candidate]]) -> list[object]:
    """Of candidates, all but their fragments; losses rounded, which threads may sum in another order."""
    return [
        (name, c.method, dict(c.options), c.error, c.macs, f"{c.output_error:.4g}", f"{c.network_change:.4g}")
        for name, some in found.items()
        for c in some
    ]


@pytest.mark.filterwarnings("ignore")  # dask's own
def test_other_processes_find_the_same(processes: Workers) -> None:
    """An exact candidate keeps what it is spliced in by; the others are fitted again when they are chosen."""
    model = net(w2=shared_basis((16, 16, 3, 3), 3))
    with threadpool_limits(1):  # as there: another order of sums moves zeros
        here = proposed(context_of(model))
    there = proposed(replace(context_of(model), workers=processes))
    assert told(here) == told(there) and len(here) == 3
    for one in (c for some in there.values() for c in some):
        assert (one.after is None) == (one.error > 0)
    assert any(not c.error for c in there["second"])


def test_a_later_run_measures_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = replace(context_of(net()), store=Store(tmp_path / "found.sqlite"))
    first = proposed(context)
    for name in ("priced", "judged"):
        monkeypatch.setattr(Weigher, name, lambda *_: pytest.fail("it was done before"))
    again = replace(context_of(net()), store=context.store)
    assert told(proposed(again)) == told(first)


@pytest.mark.parametrize("change", ["seed", "portable"])
def test_another_question_is_answered_anew(change: str, tmp_path: Path) -> None:
    context = replace(context_of(net()), store=Store(tmp_path / "found.sqlite"))
    Ledger(context, "losses").put("a", [])
    assert Ledger(context, "losses").get("a") == []
    assert Ledger(replace(context, **{change: 1}), "losses").get("a") is None
    assert Ledger(context, "prices").get("a") is None


@pytest.mark.parametrize(
    ("interrupt_at", "priced", "judged"), [("compress: costs 2", 1, 3), ("compress: losses 2", 0, 2)]
)
def test_a_run_that_was_broken_off_goes_on(
    interrupt_at: str, priced: int, judged: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "found.sqlite")
    with pytest.raises(KeyboardInterrupt):
        proposed(replace(context_of(net()), store=store), interrupt_at)
    calls: list[str] = []
    for name in ("priced", "judged"):
        original = getattr(Weigher, name)
        monkeypatch.setattr(
            Weigher, name, lambda *given, name=name, original=original: calls.append(name) or original(*given)
        )
    whole = proposed(replace(context_of(net()), store=store))
    assert (calls.count("priced"), calls.count("judged")) == (priced, judged)
    monkeypatch.undo()
    assert told(whole) == told(proposed(context_of(net())))


def test_what_is_exact_is_not_kept(tmp_path: Path) -> None:
    """Its fragment would have to be."""
    ledger = Ledger(replace(context_of(net()), store=Store(tmp_path / "found.sqlite")), "losses")
    ledger.put("a", [Candidate("m", error=0.1, options={"as": "m"}), Candidate("m", Fragment((), {}, (), ()))])
    assert ledger.get("a") is None


def test_losses_between_strengths_are_near_those_that_are_found_there() -> None:
    """Both losses of a strength that is not fitted, against a Weigher that fits it."""
    model = net()
    for site in ONE.match(model):
        if not isinstance(site, FactorSite):
            continue
        weigher, fitting = (Weigher("prune", "macs", context_of(model)) for _ in range(2))
        for text, strength in fitting._strengths.items():
            fitting._strengths[text] = replace(strength, measured=True)
        found, truth = (
            {c.options["zeros"]: c for c in one.judged(site, one.priced(site))} for one in (weigher, fitting)
        )
        assert len(found) >= 9 and found.keys() == truth.keys()
        for zeros, one in found.items():
            assert one.output_error == pytest.approx(truth[zeros].output_error, rel=0.1)
            assert 0.2 < one.network_change / truth[zeros].network_change < 5, "a change of a few samples is noisy"


def test_what_is_measured_is_fitted_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    model = net()
    site = next(site for site in ONE.match(model) if isinstance(site, FactorSite))
    fitted: list[float] = []
    original = Prune.fitted
    monkeypatch.setattr(Prune, "fitted", lambda one, *rest: fitted.append(one.options.sparsity) or original(one, *rest))
    weigher = Weigher("prune", "macs", context_of(model))
    assert len(weigher.judged(site, weigher.priced(site))) > len(fitted)
    assert sorted(fitted) == [0.2, 0.5, 0.75, 0.9, 0.98]


def test_zeros_that_are_there_are_a_choice_without_loss() -> None:
    weight = dense(SHAPES["w2"])
    weight[np.random.default_rng(0).random(weight.shape) < 0.8] = 0
    context = context_of(net(w2=weight))
    found = proposed(context)
    (own,) = [c for c in found["second"] if c.options["as"] == "as it is"]
    assert own.error == own.output_error == own.network_change == 0
    assert own.macs and own.macs[1] < 0.25 * own.macs[0]
    assert all(c.macs and c.macs[1] < own.macs[1] for c in found["second"] if c is not own)
    proposals = [
        Proposal(site, [c for c in ONE.propose(site, context) if isinstance(c, Candidate)])
        for site in ONE.match(context.model)
        if isinstance(site, Site)
    ]
    picks = {p.site.name: pick for p, pick in zip(proposals, ONE.allocate(context, proposals, Dial(0.0)), strict=True)}
    second = picks["second"]
    assert isinstance(second, Declined) and "own zeros" in second.reason
