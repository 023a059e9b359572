"""Which candidate goes to a site, by its times and by what its neighbours do."""

import itertools
from collections.abc import Sequence

import onnx_graphsurgeon as gs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import NodeProto

from onnxcomp.borders import Choice, leaving
from onnxcomp.context import Context, Timing
from onnxcomp.cost.layout import Role
from onnxcomp.cost.reorders import Reorder
from onnxcomp.fragment import Fragment
from onnxcomp.pass_api import Candidate, Chooser, Declined, Proposal, Site
from onnxcomp.planner import WORTHWHILE, fastest, unhurried
from onnxcomp_passes.sparse_conv import SparseConv
from tests.passes.graphs import model_of, sparse

SHAPE = (1, 32, 8, 8)
BORDER_MS = 0.1
CHAIN = "a = Conv (x, w, b)\n c = Conv (a, w, b)\n d = Conv (c, w, b)\n y = Exp (d)"
NET = """a = Conv (x, w, b)
    r = Relu (a)
    c = Conv (r, w, b)
    s = Add (c, r)
    t = Relu (s)
    m = MaxPool <kernel_shape = [1, 1]> (t)
    d = Conv (m, w, b)
    e = Conv (m, w, b)
    f = Exp (r)
    i = Add (d, e)
    j = Add (i, f)
    y = Conv (j, w, b)"""
FREE = Candidate("free")
PASS = SparseConv()


def context_of(body: str) -> Context:
    """A network of 1x1 convolutions; every conversion takes `BORDER_MS`."""
    dims = ", ".join(map(str, SHAPE))
    weights = {"w": sparse((32, 32, 1, 1), 0.0), "b": sparse((32,), 0.0)}
    model = model_of(f"net (float[{dims}] x) => (float[{dims}] y) {{ {body} }}", weights)
    return Context(model, {"x": SHAPE}, reorders={SHAPE: Reorder(BORDER_MS, BORDER_MS)})


def convs(context: Context) -> list[gs.Node]:
    return [node for node in context.model.graph.nodes if node.op == "Conv"]


def timed(after_ms: float, before_ms: float = 1.0, domain: str = "ai.onnxcomp") -> Candidate:
    after = Fragment((NodeProto(op_type="Any", domain=domain),), {}, (), ())
    return Candidate(f"takes {after_ms}", after, timing=Timing(before_ms, after_ms))


def chosen(context: Context, *candidates: Sequence[Candidate]) -> list[Candidate | Declined]:
    """What `fastest` makes of the Convs of a network, given candidates for each."""
    proposals = [Proposal(Site((n,)), c) for n, c in zip(convs(context), candidates, strict=True)]
    return list(fastest(PASS, context, proposals))


@pytest.mark.parametrize("choose", [fastest, unhurried])
def test_what_cannot_be_slower_is_always_taken(choose: Chooser) -> None:
    context = context_of(CHAIN)
    proposals = [Proposal(Site((node,)), [timed(0.1), FREE]) for node in convs(context)]
    assert choose(PASS, context, proposals) == [FREE] * 3


def test_nothing_measured_is_taken_where_nothing_paid() -> None:
    context = context_of(CHAIN)
    (declined,) = unhurried(PASS, context, [Proposal(Site((convs(context)[0],)), [timed(0.1)])])
    assert isinstance(declined, Declined) and "does not pay in the network as a whole" in declined.reason


@pytest.mark.parametrize(("after_ms", "taken"), [(WORTHWHILE - 1e-6, True), (WORTHWHILE, False), (2.0, False)])
def test_without_a_layout_at_stake_times_decide(after_ms: float, taken: bool) -> None:
    context = context_of("y = LRN <size = 3> (x)")
    candidate = timed(after_ms)
    (pick,) = fastest(PASS, context, [Proposal(Site(tuple(context.model.graph.nodes)), [timed(2.5), candidate])])
    if taken:
        assert pick is candidate
    else:
        assert isinstance(pick, Declined) and f"takes {after_ms:.3f} ms, the dense node 1.000 ms" in pick.reason


def test_the_fastest_form_is_taken() -> None:
    slow, fast = timed(0.4), timed(0.3)
    assert chosen(context_of(CHAIN), [slow, fast], [fast, slow], [fast]) == [fast] * 3


def test_a_gain_below_the_conversions_it_causes_is_none() -> None:
    gain = WORTHWHILE - 1.5 * BORDER_MS
    first, middle, last = chosen(context_of(CHAIN), [timed(2.0)], [timed(gain)], [timed(2.0)])
    assert isinstance(first, Declined) and "conversions" not in first.reason
    assert isinstance(middle, Declined) and "the conversions around it would take more" in middle.reason
    assert isinstance(last, Declined)


def test_a_small_loss_that_saves_conversions_is_taken() -> None:
    loss = timed(WORTHWHILE + 1.5 * BORDER_MS)
    assert chosen(context_of(CHAIN), [timed(0.1)], [loss], [timed(0.1)])[1] is loss


def test_standard_operators_cause_no_conversions() -> None:
    candidate = timed(WORTHWHILE - 0.5 * BORDER_MS, domain="")
    _, middle, _ = chosen(context_of(CHAIN), [timed(2.0)], [candidate], [timed(2.0)])
    assert middle is candidate


def test_both_kinds_of_candidates_compete() -> None:
    blocked, plain = timed(0.5, domain=""), timed(0.45)
    assert chosen(context_of(CHAIN), [timed(2.0)], [plain, blocked], [timed(2.0)])[1] is blocked
    assert chosen(context_of(CHAIN), [timed(0.1)], [plain, blocked], [timed(0.1)])[1] is plain


TIMES = st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), min_size=5, max_size=5)


@given(TIMES)
def test_no_other_choice_is_faster(times: list[tuple[float, float]]) -> None:
    context = context_of(NET)
    choices = [Choice(conv, (), *ms) for conv, ms in zip(convs(context), times, strict=True)]
    found = leaving(context, context.layouts, choices)
    best = min(total_ms(context, choices, sides) for sides in itertools.product((False, True), repeat=len(choices)))
    assert total_ms(context, choices, found) <= best + 1e-4


def total_ms(context: Context, choices: Sequence[Choice], leaves: Sequence[bool]) -> float:
    """Of the network: what the convolutions take, and the conversions that ONNX Runtime puts between its nodes."""
    layouts = context.layouts
    plain = {id(choice.conv) for choice, leaving_ in zip(choices, leaves, strict=True) if leaving_}
    blocked: dict[str, bool] = {"x": False}
    wanted: set[tuple[str, bool]] = {("y", False)}
    for node in context.model.graph.nodes:
        inputs = [tensor.name for tensor in layouts.data_inputs(node)]
        follows = layouts.role(node) is Role.FOLLOWS and all(blocked[name] for name in inputs)
        blocked[node.outputs[0].name] = follows or (layouts.role(node) is Role.BLOCKED and id(node) not in plain)
        wanted |= {(name, blocked[node.outputs[0].name]) for name in inputs}
    conversions = sum(blocked[name] != side for name, side in wanted)
    return conversions * BORDER_MS + sum(
        choice.nchw_ms if leaving_ else choice.blocks_ms for choice, leaving_ in zip(choices, leaves, strict=True)
    )


def test_what_is_fused_stands_alone_beside_a_tensor_in_nchw() -> None:
    """A blocked Conv cannot take an addend in NCHW in: the sum and the Relu become passes of their own."""
    context = context_of("e = Exp (x)\n c = Conv (x, w, b)\n s = Add (c, e)\n t = Relu (s)\n y = Conv (t, w, b)")
    nodes = {node.outputs[0].name: node for node in context.model.graph.nodes}
    layouts = context.layouts
    for nchw_ms, leaves in ((1 + 3.5 * BORDER_MS, True), (1 + 4.5 * BORDER_MS, False)):
        choice = Choice(nodes["c"], (nodes["s"], nodes["t"]), 1.0, nchw_ms)
        assert leaving(context, layouts, [choice]) == [leaves]
