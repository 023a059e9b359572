"""kronecker on fully connected layers: what it reads, finds, declines and fits, and that the outputs are equal."""

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from onnxcomp.model import Model
from onnxcomp.pass_manager import PassManager
from onnxcomp.runtime.session import run, session
from tests.passes.factors import dense, product
from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite

TOLERANCE = 1e-5  # float32 sums of some ten products in two stages, and factors rounded to float32
ALWAYS = "kronecker{when=always}"
LOW_RANK = product((24, 1), (1, 40), 3)
GENERAL = product((6, 5), (4, 8), 2)
B = np.linspace(-1, 1, 24, dtype=np.float32)


def x(*lead: int) -> NDArray[np.float32]:
    return np.random.default_rng(5).standard_normal((*lead, 40)).astype(np.float32)


def net(body: str, lead: str = "N, ", inputs: str = "") -> str:
    return f"net (float[{lead}40] x{inputs}) => (float[{lead}24] y) {{\n{body}\n}}"


def fc(weight: NDArray[np.float32], bias: NDArray[np.float32] | None = None) -> Model:
    """[fc] y = x W^T + b."""
    extra = {} if bias is None else {"b": bias}
    text = net(f"[fc] y = Gemm <transB = 1> ({', '.join(['x', 'w', *extra])})")
    return model_of(text, {"w": weight, **extra})


@pytest.mark.parametrize("weight", [LOW_RANK, GENERAL])
@pytest.mark.parametrize(
    ("layer", "transposed", "constants"),
    [
        ("[fc] y = Gemm <transB = 1> (x, w, b)", True, {"b": B}),
        ("[fc] y = Gemm <alpha = 0.5, beta = 2.0> (x, w, b)", False, {"b": B[None]}),
        ("[fc] y = Gemm <beta = 3.0> (x, w, b)", False, {"b": np.array([0.7], np.float32)}),
        ("[fc] y = Gemm <transB = 1, alpha = -2.0> (x, w)", True, {}),
        ("[fc] y = MatMul (x, w)", False, {}),
        ("[fc] p = MatMul (x, w)\ny = Add (b, p)", False, {"b": B}),
        ("[fc] p = MatMul (x, w)\nc = Add (p, b)\ny = Relu (c)", False, {"b": B}),
    ],
)
def test_finds_what_is_a_product(
    weight: NDArray[np.float32], layer: str, transposed: bool, constants: Mapping[str, NDArray[np.float32]]
) -> None:
    model = model_of(net(layer), {"w": weight if transposed else weight.T.copy(), **constants})
    done, result = rewrite(model, ALWAYS)
    (applied,) = result.applied
    assert applied.node == "fc" and applied.candidate.error == 0
    before, after = applied.candidate.size_bytes
    assert after < 0.7 * before
    assert applied.candidate.macs is not None and applied.candidate.macs[0] == 24 * 40
    for rows in (1, 3):
        assert_equal(model, done.model, TOLERANCE, x=x(rows))


@pytest.mark.parametrize("weight", [LOW_RANK, GENERAL])
@pytest.mark.parametrize("lead", [(), (2, 5), (2, 1, 3)])
def test_products_of_any_rank(weight: NDArray[np.float32], lead: tuple[int, ...]) -> None:
    sizes = "".join(f"D{i}, " for i in range(len(lead)))
    model = model_of(net("[fc] p = MatMul (x, w)\ny = Add (p, b)", sizes), {"w": weight.T.copy(), "b": B})
    done, result = rewrite(model, ALWAYS)
    assert result.changed == 1 and "Gemm" not in ops(done.model)
    assert_equal(model, done.model, TOLERANCE, x=x(*lead))


@pytest.mark.parametrize(
    "options", ["compression=3", "max_error=0.9", "rank=2", "shape=4x5,rank=2", "shape=24x1x1x1,compression=2"]
)
def test_options_choose_a_decomposition(options: str) -> None:
    given = dict(item.split("=") for item in options.split(","))
    _, result = rewrite(fc(dense((24, 40)), B), f"kronecker{{{options},when=always}}")
    (applied,) = result.applied
    chosen, error = applied.candidate.options, applied.candidate.error
    assert str(chosen["rank"]) == given.get("rank", str(chosen["rank"]))
    assert chosen["shape"].startswith(given.get("shape", ""))
    assert 0 < error <= float(given.get("max_error", 1))
    stored = sum(v.size for n, v in applied.candidate.after.constants.items() if n in ("w_a", "w_b"))
    assert stored * float(given.get("compression", 1)) <= 24 * 40
    assert applied.rewrite_error is not None and applied.rewrite_error < TOLERANCE


@pytest.mark.parametrize(
    ("pipeline", "model", "reason"),
    [
        ("kronecker", fc(dense((24, 40))), "no short sum"),
        ("kronecker", fc(np.full((24, 40), np.nan, np.float32)), "NaN"),
        ("kronecker", fc(LOW_RANK, B * np.float32(np.inf)), "the bias holds NaN or Inf"),
        ("kronecker", fc(np.zeros((24, 40), np.float32)), "all zeros"),
        ("kronecker{shape=5x5,rank=1}", fc(dense((24, 40))), "no factor of 5x5"),
        ("kronecker{shape=4x4x1,rank=1}", fc(dense((24, 40))), "no factor of 4x4x1"),
        ("kronecker{rank=1,max_error=0.01}", fc(dense((24, 40))), "as close as allowed"),
        (ALWAYS, model_of(net("[fc] y = Gemm <alpha = 0.0> (x, w)"), {"w": LOW_RANK.T.copy()}), "all zeros"),
        (ALWAYS, model_of(net("[fc] y = MatMul (x, w)", inputs=", float[40, 24] w")), "'w' is a graph input"),
        (
            ALWAYS,
            model_of(net("v = Transpose (w)\n[fc] y = MatMul (x, v)"), {"w": LOW_RANK}),
            "is a constant expression",
        ),
    ],
)
def test_declines(pipeline: str, model: Model, reason: str) -> None:
    _, result = rewrite(model, pipeline)
    assert not result.changed
    assert reason in reasons(result)["fc"]


def test_declines_an_input_that_is_a_constant() -> None:
    text = net("[fc] p = MatMul (z, w)\ny = Add (x, p)").replace("40] x", "24] x")
    _, result = rewrite(model_of(text, {"w": LOW_RANK.T.copy(), "z": x(1)}), ALWAYS)
    assert not result.changed and "its input is a constant" in reasons(result)["fc"]


def on_data(model: Model, pipeline: str, images: NDArray[np.float32]) -> Model:
    return PassManager.parse(pipeline).run(model, data=images).model


def correlated(count: int, seed: int) -> NDArray[np.float32]:
    """Inputs in few directions of 40, about a mean."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).standard_normal((40, 40)) * np.geomspace(3, 0.01, 40)[:, None]
    return (rng.standard_normal((count, 40)) @ mixing + 1).astype(np.float32)


def distance(model: Model, other: Model, images: NDArray[np.float32]) -> float:
    want, got = (run(session(m.to_proto().SerializeToString(), 1), {"x": images})[0] for m in (model, other))
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


TWO_LAYERS = """net (float[N, 40] x) => (float[N, 24] y) {
    [one] h = MatMul (x, v)
    r = Relu (h)
    [two] p = MatMul (r, w)
    y = Add (p, b)
}"""


def test_fitted_to_a_single_input() -> None:
    model = fc(dense((24, 40)), B)
    done = on_data(model, "kronecker{rank=1,when=always}", x(1))
    assert distance(model, done, x(1)) < TOLERANCE  # the bias makes up for all


@pytest.mark.parametrize("shape", ["24x1", "6x5"])
def test_fitted_to_data_it_is_closer(shape: str) -> None:
    model = fc(dense((24, 40)), B)
    images = correlated(400, 2)
    pipeline = f"kronecker{{shape={shape},compression=2,when=always%s}}"
    plain, fitted = (on_data(model, pipeline % words, images) for words in (",solver=svd", ""))
    new = correlated(200, 3)
    assert distance(model, fitted, new) < 0.7 * distance(model, plain, new)


def test_fitted_one_after_the_other() -> None:
    model = model_of(TWO_LAYERS, {"v": dense((40, 40)), "w": dense((40, 24)), "b": B})
    images = correlated(400, 2)
    pipeline = "kronecker{compression=3,when=always%s}"
    apart, fitted = (on_data(model, pipeline % words, images) for words in (",sequential=false", ""))
    assert ops(fitted)[-1] in ("Gemm", "Add")
    new = correlated(200, 3)
    assert distance(model, fitted, new) < distance(model, apart, new)


def test_the_means_of_outputs_are_kept() -> None:
    model = model_of(net("[fc] y = MatMul (x, w)"), {"w": dense((40, 24))})
    images = correlated(400, 2)
    done = on_data(model, "kronecker{rank=1,solver=svd,when=always}", images)
    want, got = (run(session(m.to_proto().SerializeToString(), 1), {"x": images})[0] for m in (model, done))
    assert np.linalg.norm(want.mean(axis=0)) > 1
    np.testing.assert_allclose(got.mean(axis=0), want.mean(axis=0), atol=1e-3)


def test_too_many_inputs_to_be_fitted() -> None:
    text = "net (float[N, 4100] x) => (float[N, 4] y) {\n[fc] y = MatMul (x, w)\n}"
    model = model_of(text, {"w": dense((4100, 4))})
    (result,) = (
        PassManager.parse("kronecker{rank=1,when=always}").run(model, data=np.ones((2, 4100), np.float32)).passes
    )
    assert "4,100 inputs are too many" in reasons(result)["fc"]


def test_proposes_what_it_measured() -> None:
    model = fc(product((24, 1), (1, 40), 1))
    _, result = rewrite(model, "kronecker")
    assert result.timings
    assert all(timing.before_ms > 0 and timing.after_ms > 0 for timing in result.timings.values())
