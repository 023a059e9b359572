"""unify: which layers it takes, that the result is equal, and what it does to weights that it is asked to change."""

from pathlib import Path

import numpy as np
import pytest

import onnxcomp
from onnxcomp.calibration import open_data
from onnxcomp.context import Context
from onnxcomp.errors import UsageError
from onnxcomp.inputs import input_specs
from onnxcomp.model import Model
from onnxcomp.numerics.blocks import Block
from onnxcomp.pass_manager import PassManager
from onnxcomp.runtime.session import run, session
from tests.passes.factors import dense, image, network
from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite, sparse
from tests.runtime.unified_models import random_weight

TOLERANCE = 1e-5
ALWAYS = "unify{when=always}"


def magnitudes(weight: np.ndarray, block: str = "4x4") -> list[int]:
    """How many different magnitudes each block has."""
    size = Block.parse(block)
    return [len(np.unique(np.abs(part))) for part in size.cut(weight).reshape(-1, size.size)]


@pytest.mark.parametrize("block", [(4, 4), (8, 1), (1, 8), (4, 1), (16, 1), (8, 8)])
@pytest.mark.parametrize("levels", [(1.0,), (1.0, 0.5, 0.0)])
def test_finds_the_blocks_that_are_there(block: tuple[int, int], levels: tuple[float, ...]) -> None:
    model = network(random_weight((16, 16, 3, 3), block, levels, zero=0.2, free=0.1), "pads = [1, 1, 1, 1]")
    done, result = rewrite(model, ALWAYS)
    assert ops(done.model) == ["UnifiedConvRelu"]
    (applied,) = result.applied
    assert applied.candidate.error == 0
    options = applied.candidate.options
    assert options["block"] == "x".join(map(str, block)) and options["pruned"] == pytest.approx(0.2, abs=0.1)
    assert options["levels"] == ":".join(f"{level:g}" for level in levels)
    assert_equal(model, done.model, TOLERANCE, x=image(model))


@pytest.mark.parametrize(
    "attributes",
    ["strides = [2, 2]", "dilations = [2, 2], pads = [2, 2, 2, 2]", "group = 2", 'auto_pad = "SAME_UPPER"'],
)
def test_any_geometry(attributes: str) -> None:
    model = network(random_weight((16, 8, 3, 3), (4, 4), free=0.2), attributes)
    done, _ = rewrite(model, ALWAYS)
    assert ops(done.model) == ["UnifiedConvRelu"]
    assert_equal(model, done.model, TOLERANCE, x=image(model))


def test_takes_in_what_follows() -> None:
    model = network(random_weight((16, 16, 3, 3), (4, 4)), "pads = [1, 1, 1, 1]", "s = Add (c, x)\ny = Relu (s)")
    done, _ = rewrite(model, ALWAYS)
    assert ops(done.model) == ["UnifiedConvAddRelu"]
    assert_equal(model, done.model, TOLERANCE, x=image(model))


def test_reports_name_what_the_layer_became(tmp_path: Path) -> None:
    model = network(random_weight((16, 16, 3, 3), (4, 4)), "pads = [1, 1, 1, 1]", "s = Add (c, x)\ny = Relu (s)")
    model.save(tmp_path / "m.onnx")
    report = onnxcomp.optimize(tmp_path / "m.onnx", passes=ALWAYS, goal="size").report
    (layer,) = report.layers
    assert layer.method == "unify" and layer.bytes == (9216, 9216 // 16)
    assert layer.macs[0] == layer.macs[1] and layer.parameters == (2304, 144)


def test_a_batchnorm_between_stays_outside() -> None:
    text = """net (float[N, 8, 9, 9] x) => (float[N, 8, H, W] y) {
        [conv] c = Conv (x, w)
        n = BatchNormalization (c, one, one, one, one)
        y = Relu (n)
    }"""
    model = model_of(text, {"w": random_weight((8, 8, 3, 3), (4, 4)), "one": np.ones(8, np.float32)})
    done, _ = rewrite(model, ALWAYS)
    assert ops(done.model) == ["UnifiedConv", "BatchNormalization", "Relu"]
    assert_equal(model, done.model, TOLERANCE, x=image(model))


@pytest.mark.parametrize(
    ("layer", "rank", "op"),
    [
        ("c = Gemm <transB = 1, alpha = 0.5> (x, w, b)", 2, "UnifiedGemmRelu"),
        ("c = MatMul (x, v)", 2, "UnifiedGemmRelu"),
        ("p = MatMul (x, v)\nc = Add (p, b)", 3, "UnifiedMatMulRelu"),
    ],
)
def test_fully_connected_layers(layer: str, rank: int, op: str) -> None:
    weight = random_weight((32, 64), (4, 4), zero=0.3)
    shape = "N, 64" if rank == 2 else "N, 3, 64"
    text = f"net (float[{shape}] x) => (float[{shape.replace('64', '32')}] y) {{\n[fc] {layer}\ny = Relu (c)\n}}"
    values = {"w": weight, "v": np.ascontiguousarray(weight.T), "b": np.linspace(-1, 1, 32, dtype=np.float32)}
    model = model_of(text, {name: value for name, value in values.items() if f" {name}" in layer})
    done, result = rewrite(model, ALWAYS)
    assert ops(done.model) == [op]
    assert result.applied[0].candidate.size_bytes[1] < 0.2 * weight.nbytes
    x = np.random.default_rng(0).standard_normal((2, 64) if rank == 2 else (2, 3, 64)).astype(np.float32)
    assert_equal(model, done.model, TOLERANCE, x=x)


@pytest.mark.parametrize("zeros", [0.5, 0.9, 0.95])
def test_zeros_at_random_are_no_blocks(zeros: float) -> None:
    done, result = rewrite(network(sparse((32, 32, 3, 3), zeros)), ALWAYS)
    assert ops(done.model) == ["Conv", "Relu"]
    assert reasons(result)["conv"] == "no blocks of one magnitude"


@pytest.mark.parametrize(
    ("weight", "attributes", "options", "reason"),
    [
        (dense((16, 16, 3, 3)), "", "", "no blocks of one magnitude"),
        (dense((16, 6, 3, 3)), "", "unified=1", "do not divide into blocks of 4x4"),
        (dense((12, 4, 3, 3)), "group = 2", "unified=1", "6 outputs and 4 inputs in each group"),
        (dense((16, 1, 3, 3)), "group = 2", "unified=1", "depthwise"),
        (random_weight((8, 8, 1, 1), (4, 4)), "", "form=merged", "needs unified or pruned"),
        (np.full((8, 8, 1, 1), np.nan, np.float32), "", "", "NaN or Inf"),
        (1e-7 * dense((8, 8, 3, 3)), "", "unified=1", "do not fit float16"),
        (np.zeros((8, 8, 3, 3), np.float32), "", "unified=1", "all zeros"),
    ],
)
def test_declines_with_its_reason(weight: np.ndarray, attributes: str, options: str, reason: str) -> None:
    model = network(weight, attributes)
    done, result = rewrite(model, f"unify{{when=always,{options}}}")
    assert ops(done.model) == ["Conv", "Relu"]
    assert reason in reasons(result)["conv"]


def test_weights_that_are_computed_are_not_stored() -> None:
    text = """net (float[N, 64] x) => (float[N, 64] y) {
        s = Constant <value_ints = [64, 64]> ()
        w = ConstantOfShape (s)
        one = Constant <value_float = 1.0> ()
        v = Add (w, one)
        [fc] y = MatMul (x, v)
    }"""
    _, result = rewrite(model_of(text), ALWAYS)
    assert "constant expression" in reasons(result)["fc"]


@pytest.mark.parametrize(("scales", "data"), [("fp16", False), ("fp32", True)])
def test_fully_connected_layers_get_blocks(scales: str, data: bool) -> None:
    text = "net (float[N, 64] x) => (float[N, 32] y) {\n[fc] p = MatMul (x, w)\ny = Add (p, b)\n}"
    model = model_of(text, {"w": dense((64, 32)), "b": np.linspace(-1, 1, 32, dtype=np.float32)})
    x = np.random.default_rng(3).standard_normal((40, 64)).astype(np.float32)
    manager = PassManager.parse(f"unify{{unified=1,scales={scales},when=always}}")
    done = manager.run(model, data={"x": x}) if data else manager.run(model)
    (applied,) = done.passes[0].applied
    assert ops(done.model) == ["UnifiedGemm"]
    assert applied.candidate.macs == (64 * 32, 64 * 32) and 0 < applied.candidate.error < 1
    (expected,), (found,) = (
        run(session(one.to_proto().SerializeToString(), 1), {"x": x}) for one in (model, done.model)
    )
    assert np.linalg.norm(found - expected) < 0.6 * np.linalg.norm(expected)
    if data:
        np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=1e-4)


@pytest.mark.parametrize(
    "layer",
    [
        "c = Gemm <transB = 1> (x, w, b)\ny = Relu (c)",
        "c = MatMul (x, w)\ny = Clip (c, low, high)",
        "p = MatMul (x, w)\nc = Add (p, b)\ny = LeakyRelu <alpha = 0.1> (c)",
    ],
)
def test_what_stands_for_blocks_has_the_activation_behind_the_layer(layer: str) -> None:
    text = f"net (float[N, 64] x) => (float[N, 64] y) {{\n[fc] {layer}\n}}"
    values = {"w": dense((64, 64)), "b": np.linspace(-1, 1, 64), "low": np.array(-0.5), "high": np.array(0.5)}
    model = model_of(text, {name: value.astype(np.float32) for name, value in values.items() if name in layer})
    x = np.random.default_rng(3).standard_normal((40, 64)).astype(np.float32)
    (applied,) = PassManager.parse("unify{unified=1,when=always}").run(model, data={"x": x}).passes[0].applied
    context = Context.on_data(model, open_data({"x": x}, input_specs(model)))
    error = context.rewrite_error(applied.candidate.before, applied.candidate.after)
    assert error is not None and error < TOLERANCE


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("block=4", "no block"),
        ("block=4x4x3", "spans taps"),
        ("levels=0.5", "levels"),
        ("levels=1:half", "write 1:0.5:0"),
        ("levels=1:0.75:0.5:0.25:0.125:0", "is the most"),
        ("unified=0.7,pruned=0.7", "shares"),
        ("unified=2", "less than or equal to 1"),
    ],
)
def test_refuses_options(options: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        PassManager.parse(f"unify{{{options}}}")


@pytest.mark.parametrize(("block", "levels"), [("4x4", "1"), ("8x1", "1:0"), ("1x8", "1:0.5:0")])
def test_gives_blocks_one_magnitude(block: str, levels: str) -> None:
    model = network(dense((16, 16, 3, 3)), "pads = [1, 1, 1, 1]")
    done, result = rewrite(model, f"unify{{unified=1,block={block},levels={levels},when=always}}")
    assert ops(done.model) == ["UnifiedConvRelu"]
    (applied,) = result.applied
    assert 0 < applied.candidate.error < 1 and applied.candidate.before is not None
    weight = applied.candidate.before.constants["w"]
    assert max(magnitudes(weight, block)) <= len(levels.split(":"))
    assert applied.candidate.options["unified"] + applied.candidate.options["pruned"] == 1


def test_shares_of_blocks() -> None:
    _, result = rewrite(network(dense((16, 16, 3, 3))), "unify{unified=0.5,pruned=0.25,scales=fp32,when=always}")
    (candidate,) = (applied.candidate for applied in result.applied)
    assert (candidate.options["unified"], candidate.options["pruned"]) == (0.5, 0.25)
    assert candidate.macs is not None and candidate.macs[1] == 0.75 * candidate.macs[0]
    assert candidate.before is not None
    counts = magnitudes(candidate.before.constants["w"])
    assert (counts.count(1), counts.count(16)) == (108, 36)  # zero and unified, free


def test_merged_stays_a_convolution_that_can_be_stored() -> None:
    model = network(dense((64, 64, 3, 3)), "pads = [1, 1, 1, 1]")
    done, _ = rewrite(model, "unify{unified=1,form=merged},unified-weight")
    assert ops(done.model) == ["UnifiedWeight", "Conv", "Relu"]
    assert done.model.size_bytes() < 0.4 * model.size_bytes()


def fitted(options: str, data: np.ndarray) -> tuple[Model, np.ndarray]:
    """A network of two convolutions rewritten on `data`, and its outputs there less those it had."""
    text = """net (float[N, 8, 6, 6] x) => (float[N, 16, H, W] y) {
        [a] c = Conv <pads = [1, 1, 1, 1]> (x, v)
        r = Relu (c)
        [b] y = Conv (r, w)
    }"""
    model = model_of(text, {"v": dense((16, 8, 3, 3)), "w": dense((16, 16, 3, 3))[::-1].copy()})
    done = PassManager.parse(f"unify{{unified=0.5,when=always,{options}}}").run(model, data={"x": data})
    outputs = [run(session(one.to_proto().SerializeToString(), 1), {"x": data})[0] for one in (model, done.model)]
    return done.model, outputs[1] - outputs[0]


def correlated(count: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    mixed = np.tensordot(rng.standard_normal((8, 3)), rng.standard_normal((3, count, 6, 6)), axes=1)
    return (1 + mixed + 0.1 * rng.standard_normal(mixed.shape)).swapaxes(0, 1).astype(np.float32)


def test_data_makes_it_nearer() -> None:
    data = correlated(24)
    errors = {options: fitted(options, data)[1] for options in ("solver=plain", "solver=refit", "solver=admm")}
    lengths = {options: float(np.linalg.norm(error)) for options, error in errors.items()}
    assert lengths["solver=admm"] < 1.05 * lengths["solver=refit"] < 0.5 * lengths["solver=plain"]
    assert all(np.abs(error.mean(axis=(0, 2, 3))).max() < 1e-3 for error in errors.values())


def test_bound_and_replay(tmp_path: Path) -> None:
    model = network(dense((64, 64, 3, 3)), "pads = [1, 1, 1, 1]")
    data, source = tmp_path / "x.npz", tmp_path / "m.onnx"
    np.savez(data, x=image(model, batch=8))
    model.save(source)
    plan, first, again = tmp_path / "plan.json", tmp_path / "first.onnx", tmp_path / "again.onnx"
    passes = "unify{unified=1,levels=1:0.5:0,form=merged},unified-weight"
    asked = {"data": data, "max_error": 0.3, "goal": "size", "threads": 1}
    result = onnxcomp.optimize(source, first, passes=passes, plan=plan, **asked)
    assert result.report.exit == 0 and first.stat().st_size < source.stat().st_size
    onnxcomp.optimize(source, again, replay=plan, **asked)
    assert first.read_bytes() == again.read_bytes()
    tight = onnxcomp.optimize(source, again, passes=passes, **(asked | {"max_error": 1e-4}))
    assert ops(tight.model) == ["Conv", "Relu"]
