"""What this machine can do, measured in under a minute: what `onnxcomp host` shows."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from onnxcomp.cost.break_even import LAYERS, BreakEven, break_even
from onnxcomp.cost.host import Host, host
from onnxcomp.cost.peaks import Bandwidth, bandwidths, fma_peak_gflops
from onnxcomp.errors import OnnxcompError
from onnxcomp.runtime.session import library_path

SCHEMA = 1
Progress = Callable[[int, int, str], None]
"""Called with how much is done, of how much, and what comes next."""


@dataclass(frozen=True)
class HostProfile:
    """`library`: None where the extension library is there, else what is wrong; then there are no break-evens."""

    host: Host
    fma_peak_gflops: dict[int, float]  # by threads
    bandwidths: tuple[Bandwidth, ...]
    break_evens: tuple[BreakEven, ...]
    library: str | None

    def to_json(self) -> dict[str, Any]:
        """For `onnxcomp host --json`."""
        return {
            "schema": SCHEMA,
            "host": self.host.to_json(),
            "fma_peak_gflops": {str(threads): gflops for threads, gflops in self.fma_peak_gflops.items()},
            "bandwidths": [asdict(bandwidth) for bandwidth in self.bandwidths],
            "break_evens": [asdict(result) for result in self.break_evens],
            "library": self.library,
        }


def profile_host(threads: int | None = None, progress: Progress | None = None) -> HostProfile:
    """Measure. Break-evens are for one operator on `threads`, as it would run."""
    tell = progress or (lambda *_: None)
    machine = host(threads)
    missing = _missing_library()
    layers = () if missing else LAYERS
    total = 2 + len(layers)
    tell(0, total, "multiply-add peak")
    peaks = {count: fma_peak_gflops(count) for count in sorted({1, machine.threads})}
    tell(1, total, "bandwidths")
    bandwidth = tuple(bandwidths())
    results = []
    for index, layer in enumerate(layers):
        tell(2 + index, total, f"break-even of {layer}")
        results.append(break_even(layer, machine.threads))
    tell(total, total, "done")
    return HostProfile(machine, peaks, bandwidth, tuple(results), missing)


def _missing_library() -> str | None:
    try:
        library_path()
    except OnnxcompError as error:
        return str(error)
    return None
