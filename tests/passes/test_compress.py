"""compress: what it proposes for a layer, how it chooses for all of them, and what it declines."""

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxcomp.calibration import open_data
from onnxcomp.context import Context, Timing
from onnxcomp.errors import UsageError
from onnxcomp.inputs import input_specs
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Declined, Dial, Proposal, Site
from onnxcomp.pass_manager import PassManager, Run
from onnxcomp_passes.compress import Compress, CompressOptions, long_first
from onnxcomp_passes.factor_sites import FactorSite
from tests.passes.factors import dense, image, product, shared_basis
from tests.passes.graphs import assert_equal, model_of

TEXT = """net (float[N, 8, 9, 9] x) => (float[N, 6] y) {
    [first] a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
    r = Relu (a)
    [second] c = Conv <pads = [1, 1, 1, 1]> (r, w2)
    s = Relu (c)
    [depthwise] d = Conv <group = 16> (s, w3)
    p = GlobalAveragePool (d)
    f = Flatten (p)
    [head] y = Gemm <transB = 1> (f, w4, b4)
}"""
SHAPES = {"w1": (16, 8, 3, 3), "b1": (16,), "w2": (16, 16, 3, 3), "w3": (16, 1, 3, 3), "w4": (6, 16), "b4": (6,)}


def net(**weights: NDArray[np.float32]) -> Model:
    """The network with `weights`, or some without structure."""
    return model_of(TEXT, {**{name: dense(shape) for name, shape in SHAPES.items()}, **weights})


def context_of(model: Model, goal: Literal["latency", "size"] = "latency") -> Context:
    """With data, as the pass sees it."""
    data = open_data(image(model, 64), input_specs(model))
    return Context.on_data(model, data, goal=goal, fitting=True).on(model)


def compressed(options: str) -> Run:
    model = net()
    return PassManager.parse(f"compress{options}").run(model, data=image(model, 64))


def macs_of(run: Run) -> float:
    """Multiply-adds left of those layers that were changed, as a share."""
    candidates = {a.node: a.candidate for a in run.passes[0].applied}
    full = {"first": 81 * 16 * 8 * 9, "second": 81 * 16 * 16 * 9, "head": 16 * 6}
    left = {name: full[name] * (1 - float(candidates[name].options["zeros"])) for name in candidates}
    other = 49 * 16 * 9  # depthwise
    return (sum({**full, **left}.values()) + other) / (sum(full.values()) + other)


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_multiply_adds_come_down_to_the_share_asked_for(share: float) -> None:
    done = compressed(f"{{macs={share},methods=prune}}")
    assert share - 0.1 < macs_of(done) <= share
    assert {a.candidate.method for a in done.passes[0].applied} == {"prune"}
    assert all(a.candidate.output_error for a in done.passes[0].applied)
    reasons = {declined.node: declined.reason for declined in done.passes[0].declined}
    assert "depthwise" in reasons["depthwise"]


def test_a_run_with_the_choices_of_the_last_fits_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    context, manager = context_of(net()), PassManager.parse("compress{macs=0.5,methods=prune}")
    first = manager.run(context.model, context)
    assert len(first.passes[0].applied) >= 2
    monkeypatch.setattr(Compress, "refine", lambda *_: pytest.fail("it was fitted before"))
    again = manager.run(context.model, context)
    assert again.model.to_proto() == first.model.to_proto()


def test_layers_that_take_long_go_first() -> None:
    model = net(w2=dense((128, 16, 3, 3)))
    sites = {site.key: site for site in Compress().match(model) if isinstance(site, FactorSite)}
    assert list(sites) == ["a", "c", "y"]
    assert long_first(sites) == ["c", "a", "y"]  # 97 % of the work; then the graph's order
    assert long_first({key: sites[key] for key in ("a", "y")}) == ["a", "y"]


def test_every_method_is_proposed_and_only_what_none_beats() -> None:
    """Of layers that are nearly of one method's kind each."""
    noise = 0.03 * dense((16, 16, 3, 3))
    model = net(w1=product((4, 8, 1, 1), (4, 1, 3, 3)) + noise[:, :8], w2=shared_basis((16, 16, 3, 3), 3) + noise)
    one = Compress(CompressOptions(macs=0.5))
    context = context_of(model, "size")
    proposals = {}
    for site in one.match(model):
        if isinstance(site, Site):
            proposals[site.name] = [c for c in one.propose(site, context) if isinstance(c, Candidate)]
    assert {c.method for found in proposals.values() for c in found} == {"prune", "penni", "kronecker"}
    for found in proposals.values():
        macs = [c.macs[1] / c.macs[0] for c in found if c.macs]
        errors = [c.output_error for c in found]
        assert len(macs) == len(found) > 1 and macs == sorted(macs, reverse=True)
        assert errors == sorted(errors, key=lambda error: error or 0.0)
        assert all(c.network_change is not None and c.network_change > 0 for c in found)
    assert {"first", "second", "head"} == set(proposals)


def test_fully_connected_layers_in_a_row_are_judged_with_their_activations() -> None:
    text = """net (float[N, 64] x) => (float[N, 8] y) {
        [one] a = Gemm <transB = 1> (x, w1, b)
        r = Relu (a)
        [two] c = MatMul (r, w2)
        s = Relu (c)
        [three] y = MatMul (s, w3)
    }"""
    values = {"w1": dense((64, 64)), "w2": dense((64, 64)), "w3": dense((64, 8)), "b": np.ones(64, np.float32)}
    model, one = model_of(text, values), Compress(CompressOptions(methods="unify+kronecker"))
    data = open_data({"x": np.random.default_rng(0).standard_normal((64, 64), np.float32)}, input_specs(model))
    context = Context.on_data(model, data, goal="size", fitting=True).on(model)
    for site in one.match(model):
        assert isinstance(site, Site)
        found = [c for c in one.propose(site, context) if isinstance(c, Candidate)]
        assert "unify" in {c.method for c in found}
        assert all(c.network_change is not None and 0 < c.network_change < np.inf for c in found)


def test_a_layer_that_is_exact_by_one_method_is_the_first_to_be_taken() -> None:
    model = net(w2=shared_basis((16, 16, 3, 3), 3))
    images = image(model, 64)
    done = PassManager.parse("compress{macs=0.8,methods=penni}").run(model, data=images)
    (applied,) = done.passes[0].applied
    assert applied.node == "second" and applied.candidate.error == 0 and applied.candidate.method == "penni"
    assert_equal(model, done.model, 1e-5, x=images[:2])


def timed(after_ms: float, error: float, change: float) -> Candidate:
    return Candidate("m", error=1.0, timing=Timing(1.0, after_ms), output_error=error, network_change=change)


@pytest.mark.parametrize(
    ("dial", "picks"),
    [
        (Dial(0.0), (None, None)),
        (Dial(0.2, "network"), (None, 0)),  # some of one layer's time, where the network loses less
        (Dial(0.2, "layer"), (0, None)),
        (Dial(0.48, "network"), (0, 0)),
        (Dial(1.0, "layer"), (1, 0)),
    ],
)
def test_the_budget_goes_where_it_costs_least(dial: Dial, picks: tuple[int | None, ...]) -> None:
    model = net()
    context = context_of(model)
    sites = [site for site in Compress().match(model) if isinstance(site, Site)]
    candidates = ([timed(0.6, 0.1, 0.5), timed(0.1, 0.4, 9.0)], [timed(0.6, 0.2, 0.1)])
    proposals = [Proposal(site, some) for site, some in zip(sites, candidates, strict=False)]
    found = Compress().allocate(context, proposals, dial)
    wanted = [None if index is None else some[index] for index, some in zip(picks, candidates, strict=True)]
    assert [None if isinstance(one, Declined) else one for one in found] == wanted


@pytest.mark.parametrize(("share", "why"), [(0.0, "the bound allows none"), (0.2, "at a smaller loss")])
def test_a_layer_that_stays_dense_says_whether_others_did_not(share: float, why: str) -> None:
    model = net()
    sites = [site for site in Compress().match(model) if isinstance(site, Site)]
    proposals = [Proposal(site, [timed(0.5, 0.1, loss)]) for site, loss in zip(sites, (1.0, 10.0), strict=False)]
    *_, last = Compress().allocate(context_of(model), proposals, Dial(share))
    assert isinstance(last, Declined) and last.reason.endswith(why)


def test_losses_that_are_no_numbers_are_the_last_to_be_chosen() -> None:
    model = net()
    context = context_of(model)
    sites = [site for site in Compress().match(model) if isinstance(site, Site)]
    broken, sound = timed(0.5, 0.1, float("inf")), timed(0.5, 0.1, 10.0)
    proposals = [Proposal(site, [one]) for site, one in zip(sites, (broken, sound), strict=False)]
    refused, taken = Compress().allocate(context, proposals, Dial(0.4))
    assert taken is sound and isinstance(refused, Declined) and "smaller loss" in refused.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [("{methods=prune+magic}", "'magic' is no method"), ("{macs=1.5}", "macs"), ("{methods=}", "'' is no method")],
)
def test_options_that_are_wrong_are_named(options: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PassManager.parse(f"compress{options}")


def test_without_data_it_says_what_it_needs() -> None:
    with pytest.raises(UsageError, match="compress needs --data"):
        PassManager.parse("compress").run(net())


def test_data_that_breaks_a_layer_leaves_it() -> None:
    model = net()
    images = image(model, 8)
    images[0] = np.inf
    done = PassManager.parse("compress{macs=0.5}").run(model, data=images)
    assert not done.passes[0].applied
    assert all("infinite or no number" in d.reason for d in done.passes[0].declined if d.node != "depthwise")
