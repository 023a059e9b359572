"""What is said of the machine, and the measuring of it kept short."""

import json

import numpy as np
import onnxruntime as ort
import pytest

from onnxcomp.cost import break_even as break_even_module
from onnxcomp.cost import host_profile, peaks
from onnxcomp.cost.break_even import break_even
from onnxcomp.cost.host import host, parse_cpuinfo
from onnxcomp.cost.host_profile import profile_host
from onnxcomp.cost.layers import LAYERS, LayerClass, dense_model, sparse_model
from onnxcomp.cost.measure import RunNode
from onnxcomp.errors import OnnxcompError
from onnxcomp.runtime.session import run, session

X86 = "processor\t: 0\nmodel name\t: AMD EPYC 9B45\nflags\t\t: fpu avx2 fma avx512f avx512vl avx512dq avx512bw\n\n" * 2
ARM = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\n"


def test_cpuinfo() -> None:
    name, flags = parse_cpuinfo(X86)
    assert name == "AMD EPYC 9B45" and "avx512bw" in flags and len(flags) == 7
    assert parse_cpuinfo(ARM)[1] == {"fp", "asimd", "sve"}
    assert parse_cpuinfo("")[0] != "" and parse_cpuinfo("")[1] == frozenset()


@pytest.mark.parametrize(
    ("flags", "isa"),
    [
        ("fma avx2 avx512f avx512vl avx512dq avx512bw avx512_vnni", "avx512"),
        ("fma avx2 avx512f", "avx2"),
        ("avx2", "portable"),
        ("", "portable"),
    ],
)
def test_instruction_sets(monkeypatch: pytest.MonkeyPatch, flags: str, isa: str) -> None:
    monkeypatch.setattr("onnxcomp.cost.host._cpuinfo", lambda: f"model name : X\nflags : {flags}\n")
    found = host(threads=3).to_json()
    assert (found["cpu"], found["isa"], found["threads"], found["onnxruntime"]) == ("X", isa, 3, ort.__version__)
    assert found["features"] == (["avx512_vnni"] if "vnni" in flags else [])


def test_peaks_are_of_a_plausible_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "_GEMM_SIDE", 64)
    monkeypatch.setattr(peaks, "_MOVED_BYTES", 1 << 20)
    monkeypatch.setattr(peaks, "WORKING_SETS", (1 << 17, 1 << 20))
    assert 0.1 < peaks.fma_peak_gflops(1) < 1e5
    found = peaks.bandwidths(2)
    assert [b.working_set_bytes for b in found] == [1 << 17, 1 << 20]
    assert all(0.01 < b.gb_per_s < 1e5 for b in found)


@pytest.mark.parametrize("layer", [*LAYERS[3:], LayerClass(5, 3, 7, 9), LayerClass(3, 8, 8, 9, 2, 4)], ids=str)
def test_layer_models_are_the_same_convolution(layer: LayerClass) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(layer.weight_shape, np.float32)
    weight *= rng.random(weight.shape) < 0.1
    feed = {"X": rng.standard_normal(layer.x_shape, np.float32)}
    dense, sparse = (run(session(m(layer, weight), 1, library=False), feed)[0] for m in (dense_model, sparse_model))
    assert dense.shape == layer.y_shape
    np.testing.assert_array_equal(dense, sparse)


def stub_times(monkeypatch: pytest.MonkeyPatch, sparse_ms_at_no_zeros: float) -> None:
    """A machine where the dense layer takes 1 ms and the sparse one in proportion to its nonzeros."""

    def times_inside(models: list[bytes], feed: object, threads: int) -> list[dict[RunNode, float]]:
        nonzeros = len(models[1]) / len(models[0])
        return [{RunNode("d", "Conv", 0): 1.0}, {RunNode("s", "SparseConv", 0): sparse_ms_at_no_zeros * nonzeros}]

    monkeypatch.setattr(break_even_module, "times_inside", times_inside)


def test_break_even_is_found_by_bisection(monkeypatch: pytest.MonkeyPatch) -> None:
    stub_times(monkeypatch, 3.0)
    found = break_even(LayerClass(3, 64, 64, 8), 1)
    assert found.layer == "3x3 64@8" and found.dense_ms == 1
    # Stored bytes are (1 - s) + 1/32 of the dense ones, and the function's body.
    assert found.sparsity is not None and abs(found.sparsity - (1 - 1 / 3)) < 0.12
    assert 1 < found.speedup_at_90 < 3.4


@pytest.mark.parametrize(("factor", "sparsity"), [(0.1, 0.03), (1000.0, None)])
def test_break_even_at_the_ends(monkeypatch: pytest.MonkeyPatch, factor: float, sparsity: float | None) -> None:
    stub_times(monkeypatch, factor)
    found = break_even(LayerClass(1, 64, 256, 8), 1)
    assert str(found.layer) == "1x1 64-256@8"
    assert found.sparsity is None if sparsity is None else found.sparsity is not None and found.sparsity <= sparsity


@pytest.mark.parametrize("built", [True, False])
def test_a_profile_of_the_host(monkeypatch: pytest.MonkeyPatch, built: bool) -> None:
    def library_path() -> str:
        if not built:
            raise OnnxcompError("not built")
        return "library.so"

    stub_times(monkeypatch, 3.0)
    monkeypatch.setattr(host_profile, "library_path", library_path)
    monkeypatch.setattr(host_profile, "LAYERS", (LayerClass(3, 8, 8, 8), LayerClass(1, 8, 8, 8)))
    monkeypatch.setattr(host_profile, "fma_peak_gflops", lambda threads: 100.0 * threads)
    monkeypatch.setattr(host_profile, "bandwidths", lambda threads: [peaks.Bandwidth(1 << 20, 50.0)])
    told: list[tuple[int, int, str]] = []
    found = profile_host(2, lambda *what: told.append(what)).to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["fma_peak_gflops"] == {"1": 100.0, "2": 200.0} and found["host"]["threads"] == 2
    assert len(found["break_evens"]) == (2 if built else 0)
    assert [fit["kind"] for fit in found["fits"]] == (["pointwise", "spatial"] if built else [])
    assert (found["prediction_error"] is None) == (not built)
    assert found["library"] == (None if built else "not built")
    assert [done for done, _, _ in told] == list(range(len(told))) and told[-1][0] == told[-1][1]
