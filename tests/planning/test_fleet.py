"""What IN OUT, IN... FOLDER and FOLDER FOLDER ask for."""

from pathlib import Path

import pytest

from onnxcomp.errors import ModelError, UsageError
from onnxcomp.fleet import Job, jobs_of, make_folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a.onnx, in/b.onnx, in/c.onnx, other/b.onnx and an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.onnx", "in/c.onnx", "in/b.onnx", "in/notes.txt", "other/b.onnx"):
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    Path("empty").mkdir()
    return tmp_path


def places(jobs: list[Job]) -> list[tuple[str, str | None]]:
    return [(str(job.source), None if job.target is None else str(job.target)) for job in jobs]


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        ("a.onnx out.onnx", [("a.onnx", "out.onnx")]),
        ("missing.onnx new/out", [("missing.onnx", "new/out")]),
        ("a.onnx empty", [("a.onnx", "empty")]),  # refused where it is written: a model is no folder
        ("in new", [("in/b.onnx", "new/b.onnx"), ("in/c.onnx", "new/c.onnx")]),
        ("a.onnx in new", [("a.onnx", "new/a.onnx"), ("in/b.onnx", "new/b.onnx"), ("in/c.onnx", "new/c.onnx")]),
        ("a.onnx other/b.onnx deep/new", [("a.onnx", "deep/new/a.onnx"), ("other/b.onnx", "deep/new/b.onnx")]),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_each_model_has_its_place(words: str, jobs: list[tuple[str, str]], dry_run: bool, here: Path) -> None:
    found = jobs_of([Path(word) for word in words.split()], dry_run=dry_run)
    assert places(found) == jobs
    before = sorted(here.rglob("*"))
    for one in found:
        make_folder(one)
    made = set(here.rglob("*")) - set(before)
    assert made == (
        {here / "new"} if words.endswith(" new") else {here / "deep", here / "deep/new"} if "deep" in words else set()
    )


@pytest.mark.parametrize(
    ("word", "jobs"), [("a.onnx", [("a.onnx", None)]), ("in", [("in/b.onnx", None), ("in/c.onnx", None)])]
)
def test_nothing_to_write_on_a_dry_run(word: str, jobs: list[tuple[str, None]], here: Path) -> None:
    assert places(jobs_of([Path(word)], dry_run=True)) == jobs


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.onnx", "give OUT.onnx"),
        ("in", "give the folder"),
        ("in out.onnx", "give a folder"),
        ("a.onnx in/b.onnx out.onnx", "give a folder"),
        ("in other new", "two of the models are called b.onnx"),
        ("in in/b.onnx other", "two of the models"),
        ("in/c.onnx other/b.onnx other", "would be overwritten"),
        ("empty new", "no .onnx files"),
    ],
)
def test_what_cannot_be_is_refused(words: str, message: str, here: Path) -> None:
    before = sorted(here.rglob("*"))
    with pytest.raises(UsageError, match=message):
        jobs_of([Path(word) for word in words.split()], dry_run=False)
    assert sorted(here.rglob("*")) == before


def test_a_folder_that_cannot_be_made_is_told(here: Path) -> None:
    (job,) = jobs_of([Path("a.onnx"), Path("in"), Path("a.onnx/new")], dry_run=False)[:1]
    with pytest.raises(ModelError, match="no folder can be made"):
        make_folder(job)
