"""What changed outputs count for: divergence of class scores, relative error of anything else."""

import math

import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from onnxcomp.calibration import Data, open_data
from onnxcomp.inputs import input_specs
from onnxcomp.model import Model
from onnxcomp.sensitivity import SAMPLES, OutputChange, change, samples_for
from tests.passes.graphs import model_of

RNG = np.random.default_rng(0)
WANT, GOT = RNG.standard_normal((2, 7, 5))


def scaled(factor: float, outputs: str = "y = Mul (x, w)") -> Model:
    return model_of(
        f"net (float[N, 3] x) => (float[N, 3] y) {{ {outputs} }}", {"w": np.array([1, factor, 1], np.float32)}
    )


def data_of(model: Model, samples: int) -> Data:
    return open_data(RNG.standard_normal((samples, 3)).astype(np.float32), input_specs(model))


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 1, 1)])
def test_logits_by_the_divergence_of_their_softmax(shape: tuple[int, ...]) -> None:
    expected = rel_entr(softmax(WANT, axis=1), softmax(GOT, axis=1)).sum(axis=1).mean()
    assert change(GOT.reshape(shape), WANT.reshape(shape)) == pytest.approx(expected)
    assert change(GOT + 3, WANT) == pytest.approx(expected)  # which a softmax does not see


def test_probabilities_as_they_are() -> None:
    p, q = softmax(WANT, axis=1), softmax(GOT, axis=1)
    assert change(q, p) == pytest.approx(rel_entr(p, q).sum(axis=1).mean())
    q[0, 0] = 0
    assert 1 < change(q / q.sum(axis=1, keepdims=True), p) < math.inf


@pytest.mark.parametrize("shape", [(7, 1), (35,), (7, 5, 2)])
def test_others_by_their_relative_error(shape: tuple[int, ...]) -> None:
    want = RNG.standard_normal(shape)
    assert change(1.1 * want, want) == pytest.approx(0.01)
    assert change(want, want) == 0 and change(want, 0 * want) == math.inf and change(0 * want, 0 * want) == 0


def test_what_is_no_float_counts_for_nothing() -> None:
    assert change(np.array([1, 2]), np.array([3, 4])) == 0


def test_a_network_on_the_first_samples() -> None:
    original = scaled(1)
    measured = OutputChange(original, data_of(original, SAMPLES + 100), threads=1)
    assert measured.of(original) == 0 < measured.of(scaled(1.1)) < measured.of(scaled(3))
    assert sum(len(feed["x"]) for feed in measured._feeds) == SAMPLES


def test_outputs_that_are_no_numbers_are_as_bad_as_can_be() -> None:
    original = scaled(1)
    assert OutputChange(original, data_of(original, 4), threads=1).of(scaled(math.nan)) == math.inf


@pytest.mark.parametrize(("activations", "samples"), [(0, 256), (1, 256), (4_000_000, 100), (10**9, 16)])
def test_large_networks_are_run_on_fewer_samples(activations: int, samples: int) -> None:
    assert samples_for(activations) == samples


@pytest.mark.parametrize(
    "y",
    [
        "Add (b, r)",
        "If (yes) <then_branch = g () => (float[N, 3] t) { t = Neg (b) }, "
        "else_branch = h () => (float[N, 3] e) { e = Identity (b) }>",
    ],
)
def test_a_layer_alone_changes_the_outputs_as_the_whole_network_with_it_does(y: str) -> None:
    """Whatever the order in which layers are asked about, and where a body reads what the layer gives."""
    text = f"net (float[N, 3] x) => (float[N, 3] y) {{ a = Mul (x, w) r = Relu (a) b = Mul (r, v) y = {y} }}"
    weights = {"w": np.array([1, 2, 3], np.float32), "v": np.array([3, 2, 1], np.float32), "yes": np.array(True)}
    original = model_of(text, weights)
    data = data_of(original, 40)
    whole, stepwise = (OutputChange(original, data) for _ in range(2))
    for name, at, output in (("w", "a", "r"), ("w", "a", "r"), ("v", "b", "b"), ("w", "a", "r"), ("v", "b", "b")):
        others = [model_of(text, {**weights, name: factor * weights[name][::-1]}) for factor in (1, 2)]
        changes = [whole.of(other) for other in others]
        assert stepwise.of_layer(others, at, [output]) == pytest.approx(changes) and min(changes) > 0
