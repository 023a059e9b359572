"""Peak memory of a model's run, in a process of its own."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from onnxcomp.cost import load_once
from onnxcomp.errors import ModelError
from onnxcomp.runtime.session import Feed, library_path, reason


def peak_rss_bytes(model: str | Path, feed: Feed, threads: int, library: bool = True) -> int:
    """Peak resident bytes of a fresh process that loads `model` and runs it once on `feed`, Python and ORT included.

    Raises ModelError where that process fails or is killed.
    """
    with tempfile.TemporaryDirectory(prefix="onnxcomp-") as folder:
        arrays = Path(folder) / "feed.npz"
        np.savez(arrays, np.array(list(feed)), *feed.values())
        command = [sys.executable, "-P", load_once.__file__, str(model), str(arrays), str(threads)]
        command += [str(library_path())] if library else []
        importable_alike = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        child = subprocess.run(command, env=importable_alike, capture_output=True, text=True, check=False)
    if child.returncode == 0:
        return int(child.stdout)
    said = child.stderr.strip().splitlines() or [f"it ended with {child.returncode}"]
    raise ModelError(f"{model}: a fresh process cannot load and run it: {reason(said[-1])}")
