"""expand-lrn: equal for every window and shape, declined by name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxcomp.context import Context, Timing
from onnxcomp.pass_manager import PassManager, Run
from tests.passes.graphs import assert_equal, model_of, ops, reasons

TOLERANCE = 1e-6  # half a dozen roundings an element


def lrn(attributes: str, channels: int = 12, rest: str = "7, 9") -> str:
    shape = f"float[N, {channels}, {rest}]"
    return f"net ({shape} x) => ({shape} y) {{\n[norm] y = LRN <{attributes}> (x)\n}}"


def expand(text: str, monkeypatch: pytest.MonkeyPatch, opset: int = 13, faster: bool = True) -> Run:
    """Run the pass as on a machine where the expanded form is faster, or slower, than the operator."""
    timing = Timing(before_ms=2.0, after_ms=1.0 if faster else 3.0)
    monkeypatch.setattr(Context, "measure", lambda *_: timing)
    return PassManager.parse("expand-lrn").run(model_of(text, opset=opset))


@settings(max_examples=25)
@given(
    size=st.sampled_from([1, 3, 5, 9]),  # ORT has odd ones only
    beta=st.sampled_from([0.75, 0.5, 1.0]),
    channels=st.integers(1, 12),
    rest=st.sampled_from(["7, 9", "1, 5"]),
)
def test_equals_the_operator(size: int, beta: float, channels: int, rest: str) -> None:
    text = lrn(f"size = {size}, alpha = 0.3, beta = {beta}, bias = 1.5", channels, rest)
    with pytest.MonkeyPatch.context() as patch:
        done = expand(text, patch)
    assert "LRN" not in ops(done.model)
    shape = (2, channels, *(int(d) for d in rest.split(",")))
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert_equal(model_of(text), done.model, TOLERANCE, x=x)


def test_takes_the_operators_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    text = lrn("size = 5")
    done = expand(text, monkeypatch)
    x = 100 * np.random.default_rng(0).standard_normal((1, 12, 7, 9)).astype(np.float32)
    assert_equal(model_of(text), done.model, TOLERANCE, x=x)


def test_an_old_model_keeps_its_opset(monkeypatch: pytest.MonkeyPatch) -> None:
    done = expand(lrn("size = 5"), monkeypatch, opset=9)
    assert (done.model.opset, done.changed) == (9, 1)


def test_declines_other_powers(monkeypatch: pytest.MonkeyPatch) -> None:
    done = expand(lrn("size = 5, beta = 0.6"), monkeypatch)
    assert "beta = 0.6" in reasons(done.passes[0])["norm"]


def test_declines_where_it_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    done = expand(lrn("size = 5"), monkeypatch, faster=False)
    assert "3.000 ms" in reasons(done.passes[0])["norm"]
    assert ops(done.model) == ["LRN"]


def test_declines_what_the_runtime_cannot_run() -> None:
    """ONNX Runtime has LRN of odd sizes only."""
    done = PassManager.parse("expand-lrn").run(model_of(lrn("size = 4")))
    assert "neither measured nor proved here" in reasons(done.passes[0])["norm"]
