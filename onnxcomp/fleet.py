"""Several models in one call: which they are, and where each result goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxcomp.errors import ModelError, UsageError

SUFFIX = ".onnx"


@dataclass(frozen=True)
class Job:
    """A model, and the file to write; None for nothing."""

    source: Path
    target: Path | None
    folder: Path | None = None  # to be made for it where it is missing


def jobs_of(paths: Sequence[Path], *, dry_run: bool) -> list[Job]:
    """What IN OUT, IN... FOLDER or FOLDER FOLDER ask for; a folder stands for the models in it, in order of name.

    Results in a folder are called as their models. Raises UsageError where that cannot be, or would overwrite a model.
    """
    if len(paths) == 1 and not paths[0].is_dir():
        if not dry_run:
            raise UsageError("give OUT.onnx, the file to write, or --dry-run")
        return [Job(paths[0], None)]
    given, target = (paths[:-1], paths[-1]) if len(paths) > 1 else (paths, None)
    if len(given) == 1 and target is not None and not given[0].is_dir():
        return [Job(given[0], target)]
    sources = [model for path in given for model in (_models_in(path) if path.is_dir() else [path])]
    if target is None:
        if not dry_run:
            raise UsageError(f"give the folder to write what becomes of {given[0]} to, or --dry-run")
        return [Job(source, None) for source in sources]
    if target.suffix == SUFFIX:
        raise UsageError(f"{target}: of {len(sources)} models; give a folder to write them to")
    targets = [target / source.name for source in sources]
    twice = next((path.name for path in targets if targets.count(path) > 1), None)
    if twice:
        raise UsageError(f"two of the models are called {twice}; write them to folders of their own")
    same = next((source for source, path in zip(sources, targets, strict=True) if _same(source, path)), None)
    if same:
        raise UsageError(f"{same} would be overwritten by its result; give another folder")
    return [Job(source, path, target) for source, path in zip(sources, targets, strict=True)]


def make_folder(job: Job) -> None:
    """The one that the result goes to. Raises ModelError where it cannot be made."""
    try:
        if job.folder is not None:
            job.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"{job.folder}: no folder can be made there: {error.strerror}") from error


def _models_in(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    if not found:
        raise UsageError(f"{folder}: no {SUFFIX} files in that folder")
    return found


def _same(source: Path, target: Path) -> bool:
    return source.resolve() == target.resolve()
