"""Every command and every piece of Python in the documentation runs, page by page, as a reader would run it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, REPOSITORY, RUN, Block, blocks_of, prepare

RUNNABLE = [page for page in PAGES if any(b.language in RUN and not b.skipped for b in blocks_of(page))]
SECONDS = 300  # of a block: to find a command that hangs


@pytest.fixture
def one_core() -> Iterator[None]:
    """For commands that measure what they aim at: beside other tests one thread's times are more even than two's."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    os.sched_setaffinity(0, {sorted(cores)[number % len(cores)]})
    yield
    os.sched_setaffinity(0, cores)


def command_of(block: Block) -> list[str]:
    """What runs it; the first command that fails ends a shell block."""
    if block.language == "python":
        return [sys.executable, "-c", block.text]
    return ["bash", "-euo", "pipefail", "-c", block.text]


@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_a_page_runs(page: Path, tmp_path: Path) -> None:
    environment = prepare(tmp_path)
    for block in blocks_of(page):
        if block.language in RUN and not block.skipped:
            done = subprocess.run(
                command_of(block), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS
            )
            where = f"{page.name}, line {block.line}"
            # How fast something is decides no test: a block may end with a speed that was not reached.
            ran = done.returncode == 0 or (done.returncode == 3 and "is below --target-speedup" in done.stderr)
            assert ran, f"{where}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
            assert "Traceback" not in done.stderr, f"{where}: {done.stderr}"


def test_commands_are_in_blocks_that_run() -> None:
    """A command between other fences would be run by nobody."""
    for page in PAGES:
        for block in blocks_of(page):
            commands = [line for line in block.text.splitlines() if line.startswith(("onnxcomp ", "pip ", "python "))]
            assert block.language in RUN or not commands, f"{page.name}, line {block.line}: {commands}"
