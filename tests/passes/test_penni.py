"""penni: where it finds shared bases, what it declines, and that the outputs are equal."""

import numpy as np
import pytest

from onnxcomp.context import relative_l2
from onnxcomp.runtime.session import run, session
from tests.passes.factors import dense, image, network, product, shared_basis
from tests.passes.graphs import assert_equal, model_of, ops, reasons, rewrite

TOLERANCE = 1e-5  # float32 sums of some hundred products in two stages, and factors rounded to float32


@pytest.mark.parametrize("form", ["basis", "coefficient", "fused", "merged"])
@pytest.mark.parametrize("attributes", ["pads = [1, 1, 1, 1]", "strides = [2, 1], dilations = [1, 2]", "group = 2"])
def test_every_form_is_equal(form: str, attributes: str) -> None:
    model = network(shared_basis((16, 8, 3, 3), 2), attributes)
    done, result = rewrite(model, f"penni{{form={form},when=always}}")
    (applied,) = result.applied
    assert applied.candidate.error == 0 and applied.candidate.options["d"] == 2
    assert_equal(model, done.model, TOLERANCE, x=image(model))


def test_forms_are_what_they_are_called() -> None:
    model = network(shared_basis((16, 8, 3, 3), 2))
    basis, fused, merged = (
        ops(rewrite(model, f"penni{{form={form},when=always}}")[0].model) for form in ("basis", "fused", "merged")
    )
    assert sorted(basis) == ["Add", *["Conv"] * 4, "Relu"]
    assert fused == ["BasisConvRelu"]
    assert merged == ["Conv", "Relu"]


@pytest.mark.parametrize("when", ["faster", "always"])
def test_declines_kernels_without_shared_bases(when: str) -> None:
    done, result = rewrite(network(dense((16, 8, 3, 3))), f"penni{{when={when}}}")
    assert not result.changed and ops(done.model) == ["Conv", "Relu"]
    assert "no combinations of fewer" in reasons(result)["conv"]


@pytest.mark.parametrize(
    ("weight", "attributes", "reason"),
    [
        (dense((16, 8, 1, 1)), "", "single numbers"),
        (dense((2, 1, 3, 3)), "group = 2", "depthwise"),
        (np.zeros((4, 4, 3, 3), np.float32), "", "all zeros"),
        (np.full((4, 4, 3, 3), np.nan, np.float32), "", "NaN"),
        (shared_basis((16, 8, 3, 3), 2), 'auto_pad = "ODD"', "auto_pad"),
        (shared_basis((2, 8, 3, 3), 2), "", "more multiply-adds"),
    ],
)
def test_declines(weight: np.ndarray, attributes: str, reason: str) -> None:
    _, result = rewrite(network(weight, attributes), "penni")
    assert reason in reasons(result)["conv"]


def test_d_bases_stand_for_another_weight_and_say_by_how_much() -> None:
    weight = dense((16, 8, 3, 3))
    model = network(weight, "pads = [1, 1, 1, 1]")
    done, result = rewrite(model, "penni{d=5,when=always}")
    (applied,) = result.applied
    assert applied.rewrite_error is not None and applied.rewrite_error < TOLERANCE
    assert 0.3 < applied.candidate.error < 0.9
    feeds = {"x": image(model)}
    want, got = (run(session(m.to_proto().SerializeToString(), 1), feeds)[0] for m in (model, done.model))
    assert 0.1 < relative_l2(got, want) < 1


def test_max_error_takes_as_few_bases_as_keep_it() -> None:
    weight = dense((16, 8, 3, 3))
    errors = {}
    for d in range(1, 9):
        _, result = rewrite(network(weight), f"penni{{d={d},when=always}}")
        errors[d] = result.applied[0].candidate.error
    _, result = rewrite(network(weight), "penni{max_error=0.6,when=always}")
    assert result.applied[0].candidate.options["d"] == min(d for d, error in errors.items() if error <= 0.6)
    _, result = rewrite(network(weight), "penni{d=2,max_error=0.6,when=always}")
    assert "2 bases leave a relative error" in reasons(result)["conv"]


def test_zero_coefficients_are_fused_and_count_as_error() -> None:
    model = network(shared_basis((16, 8, 3, 3), 2))
    done, result = rewrite(model, "penni{sparsity=0.75,when=always}")
    (applied,) = result.applied
    assert ops(done.model) == ["BasisConvRelu"]
    assert applied.candidate.options["sparsity"] == 0.75 and applied.candidate.error > 0.1
    _, result = rewrite(model, "penni{sparsity=0.75,max_error=0.01,when=always}")
    assert "with zeros the relative error is" in reasons(result)["conv"]


def test_a_residual_goes_into_the_operator_but_not_past_a_normalisation() -> None:
    weight = shared_basis((8, 8, 3, 3), 2)
    model = network(weight, "pads = [1, 1, 1, 1]", "s = Add (c, x)\ny = Relu (s)")
    done, _ = rewrite(model, "penni{form=fused,when=always}")
    assert ops(done.model) == ["BasisConvAddRelu"]
    assert_equal(model, done.model, TOLERANCE, x=image(model))
    text = """net (float[N, 8, 9, 9] x) => (float[N, 8, H, W] y) {
        [conv] c = Conv (x, w)
        n = BatchNormalization (c, one, one, one, one)
        y = Relu (n)
    }"""
    model = model_of(text, {"w": weight, "one": np.ones(8, np.float32)})
    done, _ = rewrite(model, "penni{form=fused,when=always}")
    assert ops(done.model) == ["BasisConv", "BatchNormalization", "Relu"]
    assert_equal(model, done.model, TOLERANCE, x=image(model))


def test_survives_batchnorm_folding() -> None:
    text = """net (float[N, 8, 9, 9] x) => (float[N, 16, H, W] y) {
        [conv] c = Conv (x, w)
        y = BatchNormalization (c, scale, scale, scale, scale)
    }"""
    scale = np.linspace(0.5, 2, 16, dtype=np.float32)
    model = model_of(text, {"w": shared_basis((16, 8, 3, 3), 3), "scale": scale})
    done, result = rewrite(model, "fold-batchnorm,penni{when=always}")
    assert result.applied[0].candidate.options["d"] == 3
    assert_equal(model, done.model, TOLERANCE, x=image(model))


def test_one_dimension() -> None:
    text = "net (float[N, 8, 20] x) => (float[N, 16, L] y) {\n[conv] y = Conv <pads = [1, 1], strides = [2]> (x, w)\n}"
    model = model_of(text, {"w": product((16, 8, 1), (1, 1, 5), 2)})
    done, result = rewrite(model, "penni{when=always}")
    assert result.applied[0].candidate.options["d"] == 2
    assert_equal(model, done.model, TOLERANCE, x=image(model)[:, :, 0, :1].repeat(20, axis=2))


def test_measures_both_orders() -> None:
    model = network(shared_basis((64, 64, 3, 3), 1), "pads = [1, 1, 1, 1]", size="28, 28")
    _, result = rewrite(model, "penni")
    timings = [*result.timings.values(), *(applied.candidate.timing for applied in result.applied)]
    assert timings and all(one is not None and one.before_ms > 0 for one in timings)
