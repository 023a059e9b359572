"""Pipelines as text: what is written is read back, what cannot be read is refused with its place."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxcomp.errors import UsageError
from onnxcomp.pass_manager import PassManager
from onnxcomp.pipeline_text import parse_pipeline

WORDS = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)
VALUES = st.text(st.characters(exclude_characters="{},", codec="utf-8"), max_size=8).map(str.strip)
SPACES = st.sampled_from(["", " ", "\t", "\n  "])
STEPS = st.lists(st.tuples(WORDS, st.dictionaries(WORDS, VALUES, max_size=3)), min_size=1, max_size=4)


@given(STEPS, SPACES)
def test_what_is_written_is_read_back(steps: list[tuple[str, dict[str, str]]], space: str) -> None:
    def braces(options: dict[str, str]) -> str:
        return "{" + f"{space},".join(f"{space}{k}{space}={space}{v}" for k, v in options.items()) + "}"

    text = f"{space},{space}".join(name + space + (braces(options) if options else "") for name, options in steps)
    assert parse_pipeline(space + text + space) == steps


OPTIONS = st.fixed_dictionaries(
    {}, optional={"when": st.sampled_from(["faster", "always"]), "min_zeros": st.floats(0, 1)}
)


@given(st.lists(OPTIONS, min_size=1, max_size=3))
def test_a_manager_writes_the_text_it_was_read_from(options: list[dict[str, Any]]) -> None:
    text = ",".join(f"sparse-conv{{{','.join(f'{k}={v}' for k, v in one.items())}}}" for one in options)
    manager = PassManager.parse(text)
    again = PassManager.parse(manager.text)
    assert again.text == manager.text
    assert [p.options for p in again.passes] == [p.options for p in manager.passes]
    assert [p.options.model_dump(exclude_unset=True) for p in manager.passes] == options


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        steps = parse_pipeline(text)
    except UsageError as error:
        assert str(error).startswith("--passes: ")
    else:
        assert steps and all(name for name, _ in steps)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a pass's name is expected at position 1"),
        ("a,", "expected at position 3"),
        ("a,,b", "expected at position 3"),
        ("a b", "',' or the end is expected at position 3"),
        ("a{x=1", "'{' at position 2 of 'a{x=1' is never closed"),
        ("a{x}", "'x' is not key=value"),
        ("a{=1}", "'=1' is not key=value"),
        ("a{x=1,x=2}", "option 'x' of a is given twice"),
        ("sparse-conv{when=never}", "option 'when'"),
        ("sparse-conv{min_zeros=2}", "option 'min_zeros'"),
        ("drop-identity{deep=1}", "has no option 'deep'; it has: none"),
        ("magic", "unknown pass 'magic'; installed: drop-identity, kronecker"),
    ],
)
def test_refusals_say_where(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        PassManager.parse(text)
    assert words in str(refused.value)


def test_portable_leaves_the_passes_out_that_need_the_library() -> None:
    manager = PassManager.parse("drop-identity,sparse-conv,sparse-weight{min_saving=0.5}")
    assert manager.fit(portable=True).text == "drop-identity,sparse-weight{min_saving=0.5}"
    assert manager.fit(portable=False) is manager
