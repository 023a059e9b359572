"""What this machine can do, measured in a minute or two: what `onnxcomp host` shows, and predictions rest on."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from onnxcomp.cost import skimcaffe
from onnxcomp.cost.break_even import BreakEven, break_even
from onnxcomp.cost.host import Host, host
from onnxcomp.cost.layers import LAYERS
from onnxcomp.cost.peaks import Bandwidth, bandwidths, fma_peak_gflops
from onnxcomp.cost.skimcaffe import Fit, Machine, Work
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
    fits: tuple[Fit, ...]  # of the cost model, a kind of layer each
    library: str | None

    def predicted_ms(self, work: Work) -> tuple[float, float] | None:
        """A layer's time dense and sparse by the cost model; None for a kind of layer that was not measured."""
        fit = next((fit for fit in self.fits if fit.kind == work.kind), None)
        if fit is None:
            return None
        machine = machine_of(self.fma_peak_gflops[self.host.threads], self.bandwidths)
        return skimcaffe.dense_ms(work, machine), skimcaffe.sparse_ms(work, machine, fit.alpha, fit.beta)

    @property
    def prediction_error(self) -> float | None:
        """Predicted against measured, the larger over the less: the median over all layers and sparsities."""
        points = [point for even in self.break_evens for point in even.measured]
        found = [(prediction[1], ms) for work, ms in points if (prediction := self.predicted_ms(work))]
        return float(np.median([max(a / b, b / a) for a, b in found])) if found else None

    def to_json(self) -> dict[str, Any]:
        """For `onnxcomp host --json`."""
        return {
            "schema": SCHEMA,
            "host": self.host.to_json(),
            "fma_peak_gflops": {str(threads): gflops for threads, gflops in self.fma_peak_gflops.items()},
            "bandwidths": [asdict(bandwidth) for bandwidth in self.bandwidths],
            "break_evens": [to_jsonable_python(asdict(result)) for result in self.break_evens],
            "fits": [asdict(fit) for fit in self.fits],
            "prediction_error": self.prediction_error,
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
    bandwidth = tuple(bandwidths(machine.threads))
    results = []
    for index, layer in enumerate(layers):
        tell(2 + index, total, f"break-even of {layer}")
        results.append(break_even(layer, machine.threads))
    tell(total, total, "done")
    measured = [point for result in results for point in result.measured]
    fits = skimcaffe.fit(measured, machine_of(peaks[machine.threads], bandwidth))
    return HostProfile(machine, peaks, bandwidth, tuple(results), fits, missing)


def machine_of(peak_gflops: float, measured: tuple[Bandwidth, ...]) -> Machine:
    """The cost model's F and B; between two working sets B is interpolated, beyond them it is the last one's."""
    sizes = np.log([one.working_set_bytes for one in measured])
    speeds = np.log([one.gb_per_s * 1e9 for one in measured])
    return Machine(peak_gflops * 1e9, lambda size: float(np.exp(np.interp(np.log(size), sizes, speeds))))


def _missing_library() -> str | None:
    try:
        library_path()
    except OnnxcompError as error:
        return str(error)
    return None
