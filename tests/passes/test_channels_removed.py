"""Whole channels as candidates of compress: what they are said to save is what shrink then removes."""

import pytest

from onnxcomp.analysis import layers_of
from onnxcomp.context import Context
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate
from onnxcomp.pass_manager import PassManager
from onnxcomp.selection import Selection
from onnxcomp_passes.factor_sites import FactorSite, factor_sites
from onnxcomp_passes.layers import LAYERS
from onnxcomp_passes.strengths import METHODS, methods_for
from onnxcomp_passes.weighing import Weigher
from onnxcomp_passes.worth import UNITS, Unit
from tests.passes.factors import dense, image
from tests.passes.graphs import model_of
from tests.passes.test_compress import context_of

TEXT = """net (float[N, 8, 9, 9] x) => (float[N, 6] y) {
    [first] a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
    r = Relu (a)
    [second] c = Conv <pads = [1, 1, 1, 1]> (r, w2)
    s = Relu (c)
    [third] d = Conv <pads = [1, 1, 1, 1]> (s, w3)
    t = Add (d, s)
    p = GlobalAveragePool (t)
    f = Flatten (p)
    [head] y = Gemm <transB = 1> (f, w4)
}"""
SHAPES = {"w1": (64, 8, 3, 3), "b1": (64,), "w2": (32, 64, 3, 3), "w3": (32, 32, 3, 3), "w4": (6, 32)}


def net() -> Model:
    """Only the channels between the first two layers are nobody else's."""
    return model_of(TEXT, {name: dense(shape) for name, shape in SHAPES.items()})


def priced(unit: Unit) -> dict[str, list[Candidate]]:
    """By layer, what removing channels would cost."""
    context = context_of(net())
    weigher = Weigher("prune-channels", unit, context)
    sites = [site for site in factor_sites(context.model, LAYERS) if isinstance(site, FactorSite)]
    return {site.name: weigher.priced(site) for site in sites}


def macs_of(model: Model) -> int:
    context = Context(model, {"x": (1, 8, 9, 9)})
    return sum(layer.macs or 0 for layer in layers_of(model, context.shapes))


@pytest.mark.parametrize("unit", UNITS)
def test_only_channels_that_one_layer_reads_are_offered(unit: Unit) -> None:
    found = priced(unit)
    assert {name for name, some in found.items() if some} == {"second"}
    assert {one.options["zeros"] for one in found["second"]} <= {0.25, 0.5, 0.75}
    assert unit == "ms" or len(found["second"]) == 3  # times differ from run to run


def test_what_it_saves_is_what_shrink_removes_of_both_layers() -> None:
    one = priced("macs")["second"][1]
    passes = PassManager.parse("prune{sparsity=0.5,pattern=input-channels},shrink{align=16}")
    model = net()
    run = passes.run(model, data=image(model, 64), selection=Selection(("second",), ()))
    assert one.macs is not None
    assert one.macs[0] - one.macs[1] == macs_of(net()) - macs_of(run.model) == 81 * 9 * 32 * (8 + 32)
    assert one.size_bytes[0] - one.size_bytes[1] == 4 * (32 * (9 * 8 + 1) + 32 * 9 * 32)


def test_the_budget_is_met_by_removing_them() -> None:
    model = net()
    run = PassManager.parse("compress{methods=prune-channels,macs=0.6},shrink{align=16}").run(
        model, data=image(model, 64)
    )
    assert 0.4 * macs_of(net()) <= macs_of(run.model) <= 0.6 * macs_of(net())
    pruned = run.passes[0].applied[0].candidate
    assert pruned.options["pattern"] == "input-channels"


def test_by_default_only_standard_operators_ask_for_it() -> None:
    assert "prune-channels" in methods_for(None, "ms", portable=True)
    assert set(methods_for(None, "ms", portable=True).split("+")) == {"prune-channels", "penni", "kronecker"}
    for unit in UNITS:
        assert "prune-channels" not in methods_for(None, unit, portable=False)
    assert methods_for("unify", "ms", portable=True) == "unify"
    assert set(METHODS) >= set(methods_for(None, "ms", portable=False).split("+"))
