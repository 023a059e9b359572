"""The fenced blocks of a Markdown page, in order, and a place to run them in."""

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGES = (
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "models/README.md", "benchmarks/README.md")),
)
RUN = ("sh", "python")
_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NOT_RUN = re.compile(r"<!-- (?:not run: .+|test-command) -->\n$")


@dataclass(frozen=True)
class Block:
    """What stands between two fences. `skipped`: a comment in front says why it is not run."""

    language: str
    text: str
    line: int
    skipped: bool


def blocks_of(page: Path) -> list[Block]:
    """All of them, directives too, whose language is the name in braces."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            language=found[1],
            text=found[2],
            line=text.count("\n", 0, found.start()) + 1,
            skipped=bool(_NOT_RUN.search(text, 0, found.start())),
        )
        for found in _FENCE.finditer(text)
    ]


def prepare(folder: Path) -> dict[str, str]:
    """What pages take for granted in `folder`: the sources' models, and files by the names that pages use.

    Returns the environment to run in.
    """
    models = REPOSITORY / "models"
    (folder / "models").symlink_to(models)
    for name in ("model.onnx", "a.onnx", "dense.onnx"):
        shutil.copy(models / "digits.onnx", folder / name)
    for name in ("smaller.onnx", "b.onnx"):
        shutil.copy(models / "digits_pruned.onnx", folder / name)
    for name in ("data.npz", "images.npz", "others.npz", "d.npz"):
        shutil.copy(models / "digits.npz", folder / name)
    programs = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
