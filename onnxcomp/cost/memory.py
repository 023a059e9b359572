"""Peak memory of a model's run, in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from onnxcomp.errors import ModelError
from onnxcomp.runtime.session import Feed


def peak_rss_bytes(model: str | Path, feed: Feed, threads: int, library: bool = True) -> int:
    """Peak resident bytes of a fresh process that loads `model` and runs it once on `feed`, Python and ORT included.

    Raises ModelError where that process fails or is killed.
    """
    with tempfile.TemporaryDirectory(prefix="onnxcomp-") as folder:
        arrays = Path(folder) / "feed.npz"
        np.savez(arrays, np.array(list(feed)), *feed.values())
        command = [sys.executable, "-P", "-m", "onnxcomp.cost.load_once", str(Path(model).absolute()), str(arrays)]
        command += [str(threads), "library" if library else "plain"]
        importable_alike = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        child = subprocess.run(command, env=importable_alike, capture_output=True, text=True, check=False)
    answer = json.loads(child.stdout or "{}")
    if "rss_bytes" in answer:
        return int(answer["rss_bytes"])
    said = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
    raise ModelError(f"{model}: a process that loads and runs it fails: {answer.get('error', said[-1])}")
