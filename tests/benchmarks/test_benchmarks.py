"""The benchmarks run, print their tables and check their answers. What they measure is nobody's test."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from figures import basis, caffenet, factored, layers, methods, networks, single_conv, unified
from figures.effort import QUICK, Request
from figures.networks import Network
from figures.single_conv import ConvLayer
from zoo.builder import Builder, Feature
from zoo.command import Architecture

ROOT = Path(__file__).parents[2]
SMALL = Request(threads=(1,), sparsities=(0.9,), batches=(1, 2), effort=QUICK)
TINY = (ConvLayer("small", 16, 16, 8), ConvLayer("grouped", 8, 12, 9, kernel=5, stride=2, group=4, pad=1))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "benchmarks/run.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_layers() -> None:
    (figure,) = layers.measure(SMALL, TINY)
    assert figure.faults == ()
    assert [row["layer"] for row in figure.rows] == ["small", "grouped", "geometric mean"]
    small, grouped, mean = figure.rows
    for key in ("speedup", "node_speedup"):
        assert mean[key] == pytest.approx((small[key] * grouped[key]) ** 0.5)  # type: ignore[operator]
    assert all(0 < row["rel_l2"] < 1e-5 for row in (small, grouped))  # type: ignore[operator]


def test_basis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basis, "BASES", (3,))
    (figure,) = basis.measure(SMALL, TINY)
    assert figure.faults == ()
    assert "3 bases, 90.0% zero coefficients" in figure.title
    assert [row["layer"] for row in figure.rows] == ["small", "grouped", "geometric mean"]
    assert all(0 < row["rel_l2"] < 1e-5 for row in figure.rows[:2])  # type: ignore[operator]


def test_unified() -> None:
    (figure,) = unified.measure(replace(SMALL, sparsities=(0.5,)), TINY[:1])
    assert figure.faults == ()
    assert "4x4 blocks of one magnitude, 50.0% zero" in figure.title
    assert [row["layer"] for row in figure.rows] == ["small", "geometric mean"]
    assert 0 < figure.rows[0]["rel_l2"] < 1e-5  # type: ignore[operator]


def test_a_wrong_answer_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    right = single_conv.sparse_model

    def wrong(layer: ConvLayer, weight: np.ndarray, stored: str) -> bytes:
        return right(layer, weight * np.float32(1.001), stored)

    monkeypatch.setattr(single_conv, "sparse_model", wrong)
    (figure,) = layers.measure(SMALL, TINY[:1])
    assert len(figure.faults) == 1 and "small, 1 thread: relative L2 error" in figure.faults[0]


@pytest.mark.parametrize("zeros_in", ["4x1", "16x1", "2:16"])
def test_every_structure_is_measured(zeros_in: str) -> None:
    (figure,) = layers.measure(replace(SMALL, structure=zeros_in), TINY[:1])
    assert figure.faults == ()
    assert [row["layer"] for row in figure.rows] == ["small", "geometric mean"]


@pytest.mark.parametrize(
    ("alone", "reported", "agreement", "fault"),
    [
        (2.0, 2.2, 95.0, None),
        (2.09, 2.0, 95.1, None),
        (2.2, 2.0, 95.1, "all methods together give 2.00x, penni alone 2.20x"),
        (1.9, 2.4, 95.1, "all: the report says 2.40x, measured are 2.00x"),
        (1.9, 2.0, 94.9, "all: an agreement of 94.9 %"),
    ],
)
def test_methods_that_are_not_what_is_claimed(
    alone: float, reported: float, agreement: float, fault: str | None
) -> None:
    rows = [
        {"methods": "all", "speedup": 2.0, "beside": 2.0, "reported": reported, "agreement": agreement},
        {"methods": "penni", "speedup": alone, "beside": 2.0, "reported": alone, "agreement": 96.0},
    ]
    assert list(methods.faults_of(rows, 95)) == ([fault] if fault else [])


def test_factored() -> None:
    (figure,) = factored.measure(SMALL, TINY[:1])
    assert figure.faults == ()
    assert [row["layer"] for row in figure.rows] == ["small", "geometric mean", "geometric mean by node"]
    small, mean, by_node = figure.rows
    for name in factored.FORMS:
        assert (mean[name], by_node[name]) == pytest.approx((small[name], small[name + factored.BY_NODE]))


def small_network(b: Builder, x: Feature, classes: int) -> Feature:
    x = b.relu(b.conv(b.relu(b.conv(x, 16, 3)), 16, 3))
    return b.gemm(b.flatten(b.global_average_pool(x)), classes)


SMALL_NETWORK = Network(Architecture("small", small_network, image_size=16, classes=10, normalised=True))


def test_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "NETWORKS", {"small": SMALL_NETWORK})
    (figure,) = networks.measure("small", SMALL)
    assert figure.faults == ()
    assert [row["batch"] for row in figure.rows] == [1, 2]
    for row in figure.rows:
        assert row["rel_l2"] is not None and float(row["rel_l2"]) < 1e-4
        assert float(row["int8_rel_l2"] or 0) > 0 and float(row["int8_speedup"] or 0) > 0


def test_networks_with_a_structure_that_has_its_own_zeros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "NETWORKS", {"small": SMALL_NETWORK})
    (figure,) = networks.measure("small", replace(SMALL, batches=(1,), structure="2:16"))
    assert figure.faults == ()
    assert [row["zeros"] for row in figure.rows] == [0.875]


def test_caffenet(shared: Path) -> None:
    alone, inside = caffenet.measure(SMALL, shared / "models" / caffenet.MODEL.name)
    names = [*caffenet.NAMES, "conv2 to conv5"]
    assert alone.faults == inside.faults == ()
    assert [row["layer"] for row in alone.rows] == names
    assert [row["layer"] for row in inside.rows] == [*names, "the network"]
    assert all(row["speedup"] for figure in (alone, inside) for row in figure.rows)


def test_command(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    result = command("layers", "--quick", "--threads", "1", "--sparsity", "0.95", "--json", str(out))
    assert (result.returncode, result.stderr) == (0, "")
    assert "geometric mean" in result.stdout and "VGG 3x3 256@56" in result.stdout
    assert "WRONG" not in result.stdout
    written = json.loads(out.read_text())
    assert written["schema"] == 1 and len(written["figures"][0]["rows"]) == len(layers.LAYERS) + 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "invalid choice: 'nothing'"),
        (["layers", "--threads", "0"], "0 is not at least 1"),
        (["layers", "--sparsity", "1"], "1 is not at least 0 and below 1"),
        (["layers", "--structure", "16:16"], "'16:16' is none of"),
        (["layers", "--structure", "2:16", "--json", "absent/out.json"], "absent/out.json: No such file or directory"),
    ],
)
def test_a_mistake_is_told(arguments: list[str], said: str) -> None:
    result = command(*arguments)
    assert result.returncode == 2 and said in result.stderr
    assert "Traceback" not in result.stderr
