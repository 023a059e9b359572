"""A process that loads a model, runs it once and tells its own peak memory. Run as a file, by memory.py.

Arguments: the model, an .npz (the names of the inputs, then one array for each), the threads, and the extension library
where it is to be used. Prints the bytes; fails with a message, one line, on stderr. Nothing of this package is
imported, or its memory would be counted as the model's. Memory is the kernel's high-water mark of this process's own
address space (VmHWM), the interpreter's and ORT's share included; `getrusage` would hand down the parent's.
"""

import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort


def main(model: str, feed: str, threads: str, *library: str) -> None:
    """Load, run, print."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(threads)
    for path in library:
        options.register_custom_ops_library(path)
    with np.load(feed, allow_pickle=False) as stored:
        names, *arrays = (stored[key] for key in stored.files)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, dict(zip(names.tolist(), arrays, strict=True)))
    sys.stdout.write(str(_peak_bytes()))


def _peak_bytes() -> int:
    match = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        raise OSError("/proc/self/status has no VmHWM: peak memory can be measured on Linux only")
    return int(match[1]) * 1024


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        raise SystemExit(" ".join(str(error).split())) from error
