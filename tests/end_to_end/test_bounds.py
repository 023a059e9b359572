"""Approximations on data: fitted to it, held within the bound, and repeated from a plan."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxcomp as package
from onnxcomp.report.schema import Report
from tests.end_to_end.small import assert_refused, onnxcomp

MODELS = Path(__file__).parents[2] / "models"
MODEL, DATA = MODELS / "digits.onnx", MODELS / "digits.npz"
PENNI = "fold-batchnorm,penni{d=3,when=always}"
PRUNE = "fold-batchnorm,prune{sparsity=0.8},sparse-conv{when=always}"
UNBOUNDED = 1e6


def report(passes: str, **options: Any) -> Report:
    return package.optimize(MODEL, passes=passes, goal="size", threads=1, **options).report


def changed(found: Report) -> set[str]:
    return {layer.name for layer in found.layers if layer.error}


def rel_l2(found: Report) -> float:
    return max(output["rel_l2"] for output in found.verify["outputs"])


@pytest.mark.parametrize("passes", [PENNI, "fold-batchnorm,kronecker{compression=2,when=always}", PRUNE])
def test_what_is_fitted_to_data_is_nearer_on_it(passes: str) -> None:
    plain = report(passes, max_error=UNBOUNDED)
    fitted = report(passes, data=DATA, max_error=UNBOUNDED)
    assert changed(plain) == changed(fitted) and len(changed(plain)) >= 3
    unsolved = passes.replace("0.8", "0.8,solver=magnitude") if passes == PRUNE else passes[:-1] + ",solver=svd}"
    onto_data = report(unsolved, data=DATA, max_error=UNBOUNDED)
    assert rel_l2(fitted) < rel_l2(onto_data)
    assert any("without --data" in note for note in plain.notes)


@pytest.mark.parametrize(
    ("budget", "kept"),
    [({"min_agreement": 99.0}, True), ({"max_drop": 1.0}, True), ({"max_error": 1e-4}, False), ({}, False)],
)
def test_the_bound_holds(budget: dict[str, float], kept: bool) -> None:
    """Five bases of nine cost digits hardly any accuracy, but no such error of the outputs is as small as rounding."""
    found = report("fold-batchnorm,penni{d=5,when=always}", data=DATA, **budget)
    assert found.exit == 0 and not found.missed and found.verify["passed"]
    (outputs,) = found.verify["outputs"]
    assert outputs["argmax_agreement"] >= budget.get("min_agreement", 0) / 100
    assert outputs["rel_l2"] <= budget.get("max_error", UNBOUNDED if budget else 1e-3)
    assert bool(changed(found)) is kept


@pytest.mark.parametrize(("sparsity", "agreement", "all_of_them"), [(0.8, 90, True), (0.97, 98, False)])
def test_pruned_layers_hold_the_bound(sparsity: float, agreement: float, all_of_them: bool) -> None:
    """Four fifths of the weights of every layer can go, but not 97 %."""
    passes = f"fold-batchnorm,prune{{sparsity={sparsity}}},sparse-conv"
    found = report(passes, data=DATA, min_agreement=agreement)
    assert found.exit == 0 and found.verify["outputs"][0]["argmax_agreement"] >= agreement / 100
    assert changed(found) and (len(changed(found)) == 5) is all_of_them
    assert any("were left out" in note for note in found.notes) is not all_of_them


def test_a_bound_that_nothing_draws_on_is_told() -> None:
    """As they stand, passes use what is in the weights already."""
    for last, told in (("penni", True), ("penni{d=5,when=always}", False)):
        found = report(f"fold-batchnorm,{last}", data=DATA, min_agreement=99)
        assert any("nothing of --min-agreement 99 used" in note for note in found.notes) is told


def test_as_much_as_the_bound_allows_is_done() -> None:
    """One basis in every layer agrees on 80 % of digits, and in two of them on more than 90 %."""
    found = report("fold-batchnorm,penni{d=1,when=always}", data=DATA, min_agreement=88)
    assert 0 < len(changed(found)) < 4 and found.exit == 0
    assert found.verify["outputs"][0]["argmax_agreement"] >= 0.88
    assert any("approximations were left out to stay within --min-agreement 88" in note for note in found.notes)
    reasons = [reason for layer in found.layers for reason in layer.reasons]
    assert any("would not stay within --min-agreement 88" in reason for reason in reasons)


@pytest.mark.parametrize("passes", [PENNI, PRUNE])
def test_a_plan_is_repeated_on_its_data_alone(passes: str, tmp_path: Path) -> None:
    out, again, plan = tmp_path / "out.onnx", tmp_path / "again.onnx", tmp_path / "plan.json"
    arguments = ("--data", DATA, "--min-agreement", 90, "--goal", "size", "--threads", 1)
    first = onnxcomp("optimize", MODEL, out, "--passes", passes, "--plan", plan, *arguments)
    assert first.exit_code == 0 and re.search(
        r"outputs within .*, argmax the same on \d", " ".join(first.stdout.split())
    )
    assert onnxcomp("optimize", MODEL, again, "--replay", plan, *arguments).exit_code == 0
    assert again.read_bytes() == out.read_bytes() != MODEL.read_bytes()
    other = tmp_path / "other.npz"
    with np.load(DATA) as data:
        np.savez(other, input=data["input"][:100])
    refused = onnxcomp("optimize", MODEL, again, "--replay", plan, "--data", other, "--goal", "size")
    assert_refused(refused, 2, "--replay", "other data")


def test_data_that_no_layer_can_be_fitted_to_changes_none(tmp_path: Path) -> None:
    with np.load(DATA) as data:
        images = data["input"][:50].copy()
    images[3] = np.inf
    np.savez(tmp_path / "data.npz", input=images)
    found = report(PENNI, data=tmp_path / "data.npz", min_agreement=0)
    assert found.exit == 0 and not changed(found)
    assert all("infinite or no number" in reason for layer in found.layers[:4] for reason in layer.reasons)


def test_portable_factors_are_of_standard_operators(tmp_path: Path) -> None:
    passes = "fold-batchnorm,penni{d=3,sparsity=0.5,when=always}"
    for portable, forms in ((False, {"fused"}), (True, {"basis", "coefficient"})):
        found = report(passes, max_error=UNBOUNDED, portable=portable)
        assert {layer.options["form"] for layer in found.layers if layer.error} <= forms
