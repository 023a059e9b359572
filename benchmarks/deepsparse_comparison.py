"""DeepSparse beside ONNX Runtime, dense and with our library: for developers, in an environment of its own.

    python benchmarks/deepsparse_comparison.py dense.onnx optimized.onnx $(onnxcomp library) [--threads 1] [--batch 1]

needs deepsparse 1.8 (evaluation licence; Python 3.11 or older, NumPy 1) and onnxruntime 1.17 to 1.20, and nothing of
this project but the two models and the library. All three run in turns in one process; speedups are medians over the
rounds of the ratio to ONNX Runtime dense.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from statistics import median

import deepsparse
import numpy as np
import onnxruntime as ort

Call = Callable[[], np.ndarray]
MAX_ERROR = 1e-3  # relative L2: DeepSparse sums in another order, through some fifty layers


def main() -> None:
    """Measure and print a line for each engine."""
    options = _options()
    with_library = ort.SessionOptions()
    with_library.register_custom_ops_library(options.library)
    dense = _session(options.dense, options.threads, ort.SessionOptions())
    port = dense.get_inputs()[0]
    shape = (options.batch, *port.shape[1:])
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    optimized = _session(options.optimized, options.threads, with_library)
    engine = deepsparse.compile_model(options.dense, batch_size=options.batch, num_cores=options.threads)
    calls: dict[str, Call] = {
        "ONNX Runtime dense": lambda: dense.run(None, {port.name: x})[0],
        "onnxcomp": lambda: optimized.run(None, {port.name: x})[0],
        "DeepSparse": lambda: engine.run([x])[0],
    }
    expected = calls["ONNX Runtime dense"]()
    times = _in_turns(calls, options.rounds)
    base = times["ONNX Runtime dense"]
    for name, found in times.items():
        error = float(np.linalg.norm(calls[name]() - expected) / np.linalg.norm(expected))
        speedup = median(b / t for b, t in zip(base, found, strict=True))
        wrong = "" if error <= MAX_ERROR else "  WRONG ANSWER"
        print(f"{name:20} {1e3 * median(found):8.2f} ms {speedup:6.2f}x  rel L2 {error:.0e}{wrong}")  # noqa: T201


def _session(path: str, threads: int, options: ort.SessionOptions) -> ort.InferenceSession:
    options.intra_op_num_threads = threads
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _in_turns(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds of a call, the best of three each round, after one round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            best = min(_seconds(call) for _ in range(3))
            if number:
                times[name].append(best)
    return times


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="DeepSparse beside ONNX Runtime, dense and with our library.")
    parser.add_argument("dense")
    parser.add_argument("optimized")
    parser.add_argument("library")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    return parser.parse_args()


if __name__ == "__main__":
    main()
