"""What `optimize` may be asked for."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxcomp import commands
from onnxcomp.errors import UsageError
from onnxcomp.settings import AUTO, Settings
from tests.end_to_end.small import onnxcomp


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("800000", 800_000),
        ("2MB", 2_000_000),
        ("1.5 kB", 1_500),
        ("3k", 3_000),
        ("0.5G", 500_000_000),
        ("40%", 4_000),
        (" 12.5 % ", 1_250),
        ("250%", 25_000),
    ],
)
def test_sizes(text: str, bytes_: int) -> None:
    assert Settings.of(target_size=text).target_bytes(10_000) == bytes_


@pytest.mark.parametrize("text", ["", "small", "-1", "0", "0%", "10 X", "10%%", "MB", "inf", "nan", "1e999", "5 MB%"])
def test_texts_that_are_no_size_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Settings.of(target_size=text)
    assert str(refused.value).startswith(f"--target-size: '{text}' is not a size; write bytes (800000, 2MB)")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_error": 0}, "--max-error"),
        ({"max_error": float("inf")}, "--max-error"),
        ({"max_error": float("nan")}, "--max-error"),
        ({"target_speedup": float("inf")}, "--target-speedup"),
        ({"min_agreement": 101}, "--min-agreement"),
        ({"max_drop": -1}, "--max-drop"),
        ({"goal": "beauty"}, "--goal"),
        ({"threads": 0}, "--threads"),
        ({"colour": "red"}, "--colour"),
        ({"metric": "a:b"}, "--metric needs --max-drop"),
        ({"replay": "plan.json", "passes": "sparse-conv"}, "--replay brings its own passes"),
        ({"replay": "plan.json", "exclude": ("a",)}, "--replay brings its own choices"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as refused:
        Settings.of(**options)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_defaults() -> None:
    settings = Settings.of()
    assert (settings.pipeline, settings.tolerance, settings.target_bytes(10)) == (AUTO, 1e-3, None)
    asked = Settings.of(passes="sparse-conv", max_error=0.1, plan="plan.json")
    assert (asked.pipeline, asked.tolerance, asked.plan) == ("sparse-conv", 0.1, Path("plan.json"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"passes": "fold-batchnorm,penni{d=3}", "max_error": 0.125, "portable": True},
        {"data": 'it\'s "here".npz', "min_agreement": 98.5, "include": ("a b", "^c$"), "exclude": ("d",), "seed": 3},
        {
            "data": "pictures",
            "image_size": 32,
            "mean": (-1.5, 0.1, 123.675),
            "std": (58.395, 1.0, 2.0),
            "layout": "nhwc",
        },
        {"data": "m:f", "max_drop": 1, "metric": "m:g", "target_speedup": 2.5, "goal": "size", "threads": 2},
        {"target_size": "25%", "dry_run": True, "require_gain": True},
        {"target_size": "25%", "goal": "latency", "data": "calib.0"},
        {"replay": Path("a plan.json")},
    ],
)
def test_the_command_asks_for_the_same(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Settings] = []

    def optimize(source: Path, target: Path | None, **given: Any) -> None:
        assert (source, target) == (Path("in put.onnx"), None if given["dry_run"] else Path("out.onnx"))
        names = Settings.model_fields.keys() & given.keys()
        asked.append(Settings.of(**{name: given[name] for name in names}))
        raise UsageError("this far")

    monkeypatch.setattr(commands, "optimize", optimize)
    settings = Settings.of(**options)
    command = settings.command(Path("in put.onnx"), None if settings.dry_run else Path("out.onnx"))
    assert command is not None
    assert "this far" in onnxcomp(*shlex.split(command)[1:]).stderr
    assert [one.model_copy(update={"jobs": 1}) for one in asked] == [settings]


@pytest.mark.parametrize("options", [{"data": np.zeros((1, 3))}, {"metric": max, "max_drop": 1}])
def test_what_has_no_text_has_no_command(options: dict[str, Any]) -> None:
    assert Settings.of(**options).command(Path("in.onnx"), None) is None
