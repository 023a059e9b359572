"""Was the budget met: labels, metrics, agreement and gain, on networks whose answers are known."""

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxcomp.budget import Speed, Verdict, accuracy, judge
from onnxcomp.calibration import open_data
from onnxcomp.errors import DataError, NothingGained, UsageError
from onnxcomp.settings import Settings
from onnxcomp.verify import compare
from tests.passes.graphs import model_of

TEXT = "g (float[N, 4] x) => (float[N, 4] y) {\ny = Mul (x, w)\n}"
X = np.eye(4, dtype=np.float32)  # sample i is of class i


def right_on(folder: Path, classes: int) -> Path:
    """A network that is right on the first `classes` samples only."""
    path = folder / f"{classes}.onnx"
    scale = np.where(np.arange(4) < classes, 1, -1).astype(np.float32)
    model_of(TEXT, {"w": scale}).save(path)
    return path


def measured(
    folder: Path, before: int, after: int, labels: bool = True, speed: Speed | None = None, **options: Any
) -> Verdict:
    """The verdict on a network right on `after` of 4 samples, made of one right on `before`."""
    source, result = right_on(folder, before), right_on(folder, after)
    if labels:
        np.savez(folder / "data.npz", x=X, labels=np.arange(4))
    else:
        np.savez(folder / "data.npz", x=X)
    data = open_data(folder / "data.npz", [("x", np.float32, ["N", 4])])
    verified = (compare(source, result, data, threads=1, max_error=10),)
    return judge(source, result, verified, speed, data, Settings.of(threads=1, **options))


@pytest.mark.parametrize(
    ("before", "after", "max_drop", "drop", "missed"),
    [(4, 4, 0, 0, False), (4, 3, 25, 25, False), (4, 3, 24.9, 25, True), (4, 2, 10, 50, True), (3, 4, 0, -25, False)],
)
def test_a_drop_of_top1(before: int, after: int, max_drop: float, drop: float, missed: bool, tmp_path: Path) -> None:
    verdict = measured(tmp_path, before, after, max_drop=max_drop)
    assert [one.measured for one in verdict.held] == [drop]
    assert verdict.exit == (3 if missed else 0)
    assert verdict.missed == ((f"a drop of {drop:.2f} points is above --max-drop {max_drop:g}",) if missed else ())


@pytest.mark.parametrize(
    ("after", "options", "strain"),
    [
        (4, {"min_agreement": 100}, 0.0),
        (3, {"min_agreement": 100}, inf),
        (3, {"min_agreement": 50}, 0.5),
        (2, {"min_agreement": 50}, 1.0),
        (1, {"min_agreement": 50}, 1.5),
        (3, {"max_drop": 50}, 0.5),
        (1, {"max_drop": 50}, 1.5),
        (3, {"max_drop": 100, "min_agreement": 50}, 0.5),  # the nearer of the two
        (3, {"max_error": 2}, 0.5),  # one of four samples turned round
        (3, {"max_error": 0.5}, 2.0),
    ],
)
def test_how_much_of_a_bound_is_used_up(after: int, options: dict[str, float], strain: float, tmp_path: Path) -> None:
    source, result = right_on(tmp_path, 4), right_on(tmp_path, after)
    np.savez(tmp_path / "data.npz", x=X, labels=np.arange(4))
    data, settings = open_data(tmp_path / "data.npz", [("x", np.float32, ["N", 4])]), Settings.of(threads=1, **options)
    compared = compare(source, result, data, threads=1, max_error=settings.tolerance)
    found = accuracy(source, result, [compared], data, settings)
    assert found.strain == pytest.approx(strain)
    assert (found.strain <= 1) == (compared.passed and all(one.met for one in found.held))


def test_what_does_not_run_is_beyond_every_bound(tmp_path: Path) -> None:
    source, result = right_on(tmp_path, 4), tmp_path / "other.onnx"
    model_of("g (float[N, 4] x) => (float[N, 4] y) {\ny = Reshape (x, s)\n}", {"s": np.array([1, 4])}).save(result)
    data, settings = open_data({"x": X}, [("x", np.float32, ["N", 4])]), Settings.of(threads=1, min_agreement=0)
    compared = compare(source, result, data, threads=1, max_error=settings.tolerance)
    assert not compared.passed and accuracy(source, result, [compared], data, settings).strain > 1


@pytest.mark.parametrize(("after", "agreement", "missed"), [(4, 100, False), (3, 75, False), (3, 76, True)])
def test_agreement_needs_no_labels(after: int, agreement: float, missed: bool, tmp_path: Path) -> None:
    verdict = measured(tmp_path, 4, after, labels=False, min_agreement=agreement)
    assert bool(verdict.missed) == missed
    assert [one.option for one in verdict.held] == ["--min-agreement"]


def total(outputs: dict[str, np.ndarray], labels: np.ndarray | None) -> float:
    """A user's metric: the sum of the output, in points."""
    assert labels is None
    return float(outputs["y"].sum())


@pytest.mark.parametrize("metric", [total, "my_metric:total"])
def test_a_metric_of_the_users(
    metric: Callable[..., float] | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_metric.py").write_text(f"from {__name__} import total as total\n")
    monkeypatch.chdir(tmp_path)
    verdict = measured(tmp_path, 4, 3, labels=False, max_drop=1, metric=metric)
    assert [one.measured for one in verdict.held] == [2]  # one of four ones became minus one
    assert verdict.exit == 3


@pytest.mark.parametrize("metric", ["os", "os:nothing", "no_such_module:f", "os:sep"])
def test_a_metric_that_is_none(metric: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--metric {metric}"):
        measured(tmp_path, 4, 4, max_drop=1, metric=metric)


def test_a_metric_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_failing_metric.py").write_text("def divided(outputs, labels):\n    return 1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="--metric my_failing_metric:divided: raised ZeroDivisionError"):
        measured(tmp_path, 4, 4, max_drop=1, metric="my_failing_metric:divided")


def test_a_drop_without_labels_names_the_other_way(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.npz has no labels; without them give --min-agreement"):
        measured(tmp_path, 4, 4, labels=False, max_drop=1)


@pytest.mark.parametrize(("speedup", "missed"), [(2.0, False), (1.9, True), (None, True)])
def test_speed(speedup: float | None, missed: bool, tmp_path: Path) -> None:
    speed = Speed(1.0, 1.0 / speedup, speedup) if speedup else None
    assert bool(measured(tmp_path, 4, 4, speed=speed, target_speedup=2).missed) == missed


def test_size(tmp_path: Path) -> None:
    (missed,) = measured(tmp_path, 4, 4, target_size="99%").missed
    assert "are above --target-size 99%" in missed
    assert measured(tmp_path, 4, 4, target_size="100%").missed == ()


def test_a_gain_is_required(tmp_path: Path) -> None:
    with pytest.raises(NothingGained, match="nothing worth doing was found"):
        measured(tmp_path, 4, 4, speed=Speed(1.0, 1.0, 1.0), require_gain=True)
    assert measured(tmp_path, 4, 4, speed=Speed(1.1, 1.0, 1.1), require_gain=True).exit == 0
