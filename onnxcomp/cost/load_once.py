"""A process that loads a model, runs it once and tells its own peak memory: `python -m onnxcomp.cost.load_once`.

Arguments: the model, an .npz (the names of the inputs, then one array for each), the threads, "library" or "plain".
Prints one JSON object, {"rss_bytes"} or {"error"}. Memory is the kernel's high-water mark of this process's own address
space (VmHWM), the interpreter's and ORT's share included; `getrusage` would hand down the parent's.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np

from onnxcomp.errors import OnnxcompError
from onnxcomp.runtime.session import run, session


def main(model: str, feed: str, threads: str, library: str) -> None:
    """Load, run, print."""
    try:
        with np.load(feed, allow_pickle=False) as stored:
            names, *arrays = (stored[key] for key in stored.files)
        run(session(model, int(threads), library == "library"), dict(zip(names.tolist(), arrays, strict=True)), model)
        answer: dict[str, object] = {"rss_bytes": _peak_bytes()}
    except OnnxcompError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer))


def _peak_bytes() -> int:
    match = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        raise OnnxcompError("/proc/self/status has no VmHWM: peak memory can be measured on Linux only")
    return int(match[1]) * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
