"""What `optimize` may be asked for."""

from pathlib import Path
from typing import Any

import pytest

from onnxcomp.errors import UsageError
from onnxcomp.settings import AUTO, Settings


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
