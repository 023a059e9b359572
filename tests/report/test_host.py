"""`onnxcomp host`: measured once, shown and drawn as often as wanted; what it knows goes into reports."""

import json
from pathlib import Path
from typing import Any

import pytest

from onnxcomp import commands
from onnxcomp.cost.host_profile import HostProfile
from onnxcomp.cost.profile_cache import keep_profile
from tests.end_to_end.small import assert_refused, onnxcomp, save_network
from tests.profiles import made_up_profile
from tests.report import contract

HOST = ("host", "--threads", 1)


@pytest.fixture(autouse=True)
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An empty cache, and a measurement that takes no time; holds the threads of every one that was made."""
    calls: list[int] = []

    def profile_host(threads: int, _progress: object) -> HostProfile:
        calls.append(threads)
        return made_up_profile()

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(commands, "profile_host", profile_host)
    return calls


def test_is_measured_once(measured: list[int]) -> None:
    first, again, anew = onnxcomp(*HOST), onnxcomp(*HOST), onnxcomp(*HOST, "--refresh")
    assert measured == [1, 1]
    assert "measured earlier" not in first.stdout + anew.stdout
    assert "--refresh measures anew" in again.stdout
    for result in (first, again, anew):
        assert result.exit_code == 0
        assert "70%" in result.stdout and "none" in result.stdout and "spatial" in result.stdout


def test_json(tmp_path: Path) -> None:
    assert onnxcomp(*HOST, "--json", tmp_path / "host.json", "--quiet").output == ""
    found = json.loads((tmp_path / "host.json").read_text())
    contract.assert_conforms(found, contract.HOST_PROFILE)
    assert found["prediction_error"] > 1


@pytest.mark.parametrize(("name", "start"), [("p.png", b"\x89PNG"), ("p.svg", b"<?xml")])
def test_plot(name: str, start: bytes, tmp_path: Path) -> None:
    assert onnxcomp(*HOST, "--plot", tmp_path / name).exit_code == 0
    assert (tmp_path / name).read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("path", "words"), [("p.pdf", "ends in .png or .svg"), ("nowhere/p.png", "there is no folder")]
)
def test_a_plot_that_cannot_be_is_refused_before_measuring(
    path: str, words: str, tmp_path: Path, measured: list[int]
) -> None:
    assert_refused(onnxcomp(*HOST, "--plot", tmp_path / path), 2, words)
    assert measured == []


def report_of(folder: Path) -> dict[str, Any]:
    source = save_network(folder / "in.onnx")
    arguments = ("--passes", "sparse-conv{min_zeros=0.5}", "--threads", 1, "--json", folder / "report.json")
    assert onnxcomp("optimize", source, folder / "out.onnx", *arguments).exit_code == 0
    return dict(json.loads((folder / "report.json").read_text()))


def test_reports_have_predictions_of_layers_with_a_candidate(tmp_path: Path) -> None:
    keep_profile(made_up_profile(), 1)
    report = report_of(tmp_path)
    predicted = {layer["name"]: layer["predicted_ms"] for layer in report["layers"]}
    dense_ms, sparse_ms = predicted.pop("first")
    assert dense_ms == pytest.approx(2 * 14 * 14 * 32 * 16 * 9 / 100e9 * 1e3)
    assert 0 < sparse_ms < dense_ms
    assert predicted == {"second": None, "head": None}
    assert not any("onnxcomp host" in note for note in report["notes"])


def test_reports_say_how_to_get_predictions(tmp_path: Path) -> None:
    report = report_of(tmp_path)
    assert [layer["predicted_ms"] for layer in report["layers"]] == [None] * 3
    assert any("run `onnxcomp host --threads 1` once" in note for note in report["notes"])
