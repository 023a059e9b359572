"""ADMM's step: the minimiser that it is said to be, by eigenvectors and by Cholesky factors."""

import numpy as np
import pytest

from onnxcomp.numerics import admm as admm_module
from onnxcomp.numerics.admm import FEWEST, Norm, admm
from onnxcomp.numerics.moments import energy
from onnxcomp.numerics.projections import zeros
from onnxcomp.numerics.pruning import refit
from tests.numerics.oracle import random_moment


@pytest.fixture(params=["spectrum", "factors"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(admm_module, "LARGE", 0 if request.param == "factors" else 1 << 20)
    return str(request.param)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("groups", [(), (2,)])
def test_a_step_minimises(groups: tuple[int, ...], scaled: bool) -> None:
    rng = np.random.default_rng(0)
    moment = np.stack([random_moment(12, rng) for _ in range(2)]) if groups else random_moment(12, rng)
    norm = Norm.of(moment, scaled)
    wanted, X = rng.standard_normal((2, *groups, 5, 12)).astype(np.float32)
    nearer = norm.nearer(wanted)
    for rho in (np.float32(0.1), np.float32(2), np.float32(0.1)):
        W = nearer(X, rho)
        gradient = (W - wanted) @ norm.scaled + rho * (W - X)
        assert np.abs(gradient).max() < 1e-5 * np.abs(norm.scaled).max()


def test_every_rho_is_visited_in_turn(form: str) -> None:
    norm = Norm.of(random_moment(6, np.random.default_rng(0)))
    penalties = norm.penalties((0.1, 2.0), 12)
    assert len(penalties) == 12 and (np.diff(penalties) >= 0).all()
    assert penalties[[0, -1]] == pytest.approx([0.1, 2.0])
    assert len(np.unique(penalties)) == (admm_module.STEPS if form == "factors" else 12)
    assert len(norm.penalties((0.1, 2.0), 2)) == 2


def test_few_steps_of_rho_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """At as few iterations: within 2 % of the error, on average, of a rho of each iteration's own."""
    ratios = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        weight, moment = rng.standard_normal((16, 72)), random_moment(72, rng, 0.8)
        errors = []
        for large in (0, 1 << 20):
            monkeypatch.setattr(admm_module, "LARGE", large)
            found = admm(weight, Norm.of(moment), zeros(0.7), iterations=FEWEST)
            errors.append(energy(weight - refit(weight, moment, found), moment) ** 0.5)
        ratios.append(errors[0] / errors[1])
    assert np.mean(ratios) < 1.02, ratios
