"""How fast this machine multiplies and moves: the ceilings that kernels are held against."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from onnxcomp.cost.measure import bound
from onnxcomp.cost.turns import take_turns
from onnxcomp.runtime.session import session

WORKING_SETS = tuple(1 << power for power in (17, 18, 19, 20, 22, 24, 26, 28))  # 128 KB to 256 MB
_GEMM_SIDE = 768
_MOVED_BYTES = 1 << 28  # a bandwidth is taken over so much traffic
_REPEATS = 5
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Bandwidth:
    """Of a pass over an array into another, both `working_set_bytes` together; both directions are counted."""

    working_set_bytes: int
    gb_per_s: float


def fma_peak_gflops(threads: int) -> float:
    """GFLOP/s (a multiply-add is two) of ORT's dense MatMul, within a few per cent of what the FMA units can do."""
    n = _GEMM_SIDE
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal((n, n), np.float32) for _ in range(2))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["X", "W"], ["Y"])],
        "gemm",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [n, n])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [n, n])],
        [numpy_helper.from_array(w, "W")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    call = bound(session(model, threads, library=False), {"X": x})
    (times,) = take_turns([call], seconds=1.0)
    return 2 * n**3 / times.best_ms / 1e6


def bandwidths(threads: int) -> list[Bandwidth]:
    """Of `threads` together, each on its share of the working set: level by level of the caches, then memory."""
    with ThreadPoolExecutor(threads) as pool:
        return [Bandwidth(size, sum(pool.map(_pass_gb_per_s, [size // threads] * threads))) for size in WORKING_SETS]


def _pass_gb_per_s(working_set_bytes: int) -> float:
    """By vector loads and stores, as kernels move: a memcpy of 32 to 128 KB takes ten times as long on an EPYC 7003."""
    source = np.ones(working_set_bytes // 2 // _FLOAT_BYTES, np.float32)
    target = np.empty_like(source)
    np.negative(source, out=target)  # the first touch maps the pages
    passes = max(1, _MOVED_BYTES // working_set_bytes)
    fastest = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        for _ in range(passes):
            np.negative(source, out=target)
        fastest = min(fastest, time.perf_counter() - start)
    return passes * working_set_bytes / fastest / 1e9
