"""compress on a trained network: the bound holds, more is saved than by pruning alone, and the plan repeats it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxcomp as package
from onnxcomp.report.schema import Report
from tests.end_to_end.small import assert_refused, onnxcomp

MODELS = Path(__file__).parents[2] / "models"
MODEL, DATA = MODELS / "digits.onnx", MODELS / "digits.npz"
BEHIND = "sparse-conv{when=always,min_zeros=0},sparse-gemm{when=always},codebook"
COMPRESS = f"fold-batchnorm,compress{{methods=prune}},{BEHIND}"
AGREEMENT = 98
BOUND: dict[str, Any] = {
    "data": DATA,
    "min_agreement": AGREEMENT,
    "goal": "size",
    "exclude": ("^Conv_[13]$",),  # those that take longest to fit
    "threads": 1,
}


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Report]:
    """The compressed network, the plan of it and the report on it."""
    out = tmp_path_factory.mktemp("compress") / "out.onnx"
    plan = out.with_name("plan.json")
    return out, plan, package.optimize(MODEL, out, passes=COMPRESS, plan=plan, **BOUND).report


def pruned(sparsity: float) -> Report:
    passes = f"fold-batchnorm,prune{{sparsity={sparsity}}},{BEHIND}"
    return package.optimize(MODEL, passes=passes, **BOUND).report


def test_the_bound_holds_and_it_beats_pruning_alone(compressed: tuple[Path, Path, Report]) -> None:
    out, _, found = compressed
    assert found.exit == 0 and found.verify["outputs"][0]["argmax_agreement"] >= AGREEMENT / 100
    assert out.stat().st_size <= min(pruned(sparsity).output.bytes for sparsity in (0.8, 0.95))
    chosen = [layer.options["as"] for layer in found.layers if "as" in layer.options]
    assert len(set(chosen)) > 1


def test_a_plan_is_repeated_on_its_data_alone(compressed: tuple[Path, Path, Report], tmp_path: Path) -> None:
    out, plan, _ = compressed
    again, other = tmp_path / "again.onnx", tmp_path / "other.npz"
    arguments = ("--replay", plan, "--threads", 1)  # the bound is in the plan
    assert onnxcomp("optimize", MODEL, again, "--data", DATA, *arguments, "--json", tmp_path / "r.json").exit_code == 0
    assert again.read_bytes() == out.read_bytes() != MODEL.read_bytes()
    (held,) = json.loads((tmp_path / "r.json").read_text())["budget"]
    assert (held["option"], held["asked"], held["met"]) == ("--min-agreement", AGREEMENT, True)
    stricter = onnxcomp("optimize", MODEL, again, "--data", DATA, *arguments, "--max-error", 1e-6)
    assert_refused(stricter, 4, "above 1e-06")
    with np.load(DATA) as data:
        np.savez(other, input=data["input"][:100])
    refused = onnxcomp("optimize", MODEL, again, "--data", other, *arguments)
    assert_refused(refused, 2, "--replay", "other data")


@pytest.mark.parametrize("more", [(), ("--goal", "size")])
def test_it_says_that_it_needs_data(more: tuple[Any, ...], tmp_path: Path) -> None:
    refused = onnxcomp("optimize", MODEL, tmp_path / "out.onnx", "--passes", COMPRESS, *more)
    assert_refused(refused, 2, "compress needs --data")
    assert not list(tmp_path.iterdir())
