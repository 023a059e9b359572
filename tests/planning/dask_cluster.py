"""A Dask cluster of two workers in a process of its own, as they are on other machines."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_RUN = """
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as running:
        print(running.scheduler_address, flush=True)
        input()
"""


@contextmanager
def running() -> Iterator[str]:
    """Its address, until the end."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.communicate("\n", timeout=60)
