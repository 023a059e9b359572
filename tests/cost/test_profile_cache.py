"""The profile is kept for the machine it was measured on, and for no other."""

from dataclasses import replace
from pathlib import Path

import pytest

from onnxcomp.cost import profile_cache
from onnxcomp.cost.profile_cache import keep_profile, kept_profile, profile_path
from tests.profiles import made_up_profile


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "onnxcomp"


def test_what_is_kept_is_read_back(cache: Path) -> None:
    assert kept_profile(1) is None
    assert keep_profile(made_up_profile(), 1) is None
    assert kept_profile(1) == made_up_profile()
    assert [file.parent for file in cache.iterdir()] == [cache] and profile_path(1).is_file()


def test_another_build_of_the_library_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_profile(made_up_profile(), 1)
    monkeypatch.setattr(profile_cache, "_library_hash", lambda: "another")
    assert kept_profile(1) is None


@pytest.mark.parametrize("changed", [{"cpu": "another"}, {"isa": "portable"}, {"onnxruntime": "1.0.0"}])
def test_another_machine_has_its_own(changed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    keep_profile(made_up_profile(), 1)
    monkeypatch.setattr(profile_cache, "host", lambda _threads: replace(made_up_profile().host, **changed))
    assert kept_profile(1) is None


def test_other_threads_have_their_own() -> None:
    keep_profile(made_up_profile(), 1)
    assert kept_profile(2) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 3}'])
def test_a_damaged_file_is_as_good_as_none(text: str) -> None:
    keep_profile(made_up_profile(), 1)
    profile_path(1).write_text(text)
    assert kept_profile(1) is None


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    reason = keep_profile(made_up_profile(), 1)
    assert reason is not None and "could not be kept" in reason
