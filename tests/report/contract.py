"""What the JSON of each command must hold: keys and types. More keys are welcome.

A specification is a type, a `Union` of types, a list of one (any length), a tuple (item by item) or a dict (by key).
"""

from typing import Any

FIGURE = int | float
FIGURE_OR_NONE = FIGURE | None

FILE = dict.fromkeys(("bytes", "parameters", "nonzero", "macs", "opset", "ir"), int) | {"path": str}
HOST = {"cpu": str, "isa": str, "threads": int, "onnxruntime": str}
LAYER = {
    "name": str,
    "op": str,
    "shape": [int],
    "method": str,
    "options": dict,
    "reason": str | None,
    "error": FIGURE_OR_NONE,
    "output_error": FIGURE_OR_NONE,
    "network_change": FIGURE_OR_NONE,
    "reasons": [str],
    "parameters": (int, int),
    "bytes": (int, int),
    "macs": (int | None, int | None),
    "ms": (FIGURE_OR_NONE, FIGURE_OR_NONE),
    "predicted_ms": list | None,
}
PASS = {"name": str, "options": dict, "seconds": FIGURE, "changed": int, "declined": [{"node": str, "reason": str}]}
OUTPUT = {"name": str, "max_abs": FIGURE, "rel_l2": FIGURE, "cosine": FIGURE, "argmax_agreement": FIGURE_OR_NONE}
VERIFY = {"passed": bool, "inputs": int, "rewrite_max_rel_error": FIGURE_OR_NONE, "outputs": [OUTPUT]}
LATENCY = {
    "before_ms": FIGURE_OR_NONE,
    "after_ms": FIGURE_OR_NONE,
    "speedup": FIGURE,
    "batch": int,
    "threads": int,
}

OPTIMIZE = {
    "schema": int,
    "version": str,
    "exit": int,
    "input": FILE,
    "output": FILE,
    "host": HOST,
    "layers": [LAYER],
    "passes": [PASS],
    "verify": VERIFY,
    "latency": LATENCY,
    "budget": [{"option": str, "asked": FIGURE, "measured": FIGURE_OR_NONE, "used": FIGURE_OR_NONE, "met": bool}],
    "search": dict | None,
    "command": str | None,
    "plan": dict | None,
}
MODEL = dict.fromkeys(("median_ms", "p95_ms", "speedup", "load_ms"), FIGURE) | {
    "path": str,
    "rss_bytes": int,
    "file_bytes": int,
}
BENCH = {"schema": int, "host": HOST, "models": [MODEL]}
INSPECTED = {
    "name": str,
    "op": str,
    "shape": [int],
    "macs": int | None,
    "parameters": int,
    "zeros": FIGURE,
    "structure": str,
    "methods": [str],
}
INSPECT = {"schema": int, "layers": [INSPECTED]}
OPTION = {"name": str, "type": str, "default": object, "required": bool, "description": str | None}
PASSES = {"schema": int, "passes": [{"name": str, "summary": str, "options": [OPTION]}]}
HOST_PROFILE = {
    "schema": int,
    "host": HOST,
    "fma_peak_gflops": dict,
    "bandwidths": [dict],
    "break_evens": [dict],
    "fits": [dict],
}


def assert_conforms(value: Any, wanted: Any, where: str = "$") -> None:
    """Fail naming the place where `value`, read from JSON, is not as `wanted` says."""
    if isinstance(wanted, dict):
        assert isinstance(value, dict), where
        assert wanted.keys() <= value.keys(), f"{where}: {sorted(wanted.keys() - value.keys())} missing"
        for key, inner in wanted.items():
            assert_conforms(value[key], inner, f"{where}.{key}")
    elif isinstance(wanted, list | tuple):
        assert isinstance(value, list), where
        inner = wanted * len(value) if isinstance(wanted, list) else wanted
        assert len(value) == len(inner), f"{where}: {value}"
        for i, (item, one) in enumerate(zip(value, inner, strict=True)):
            assert_conforms(item, one, f"{where}[{i}]")
    else:
        assert isinstance(value, wanted), f"{where}: {value!r} is no {wanted}"
        assert wanted in (bool, object) or not isinstance(value, bool), f"{where}: {value!r} is no {wanted}"
