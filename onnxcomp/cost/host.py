"""What a report says of the machine."""

import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnxruntime as ort

from onnxcomp.runtime.session import default_threads

_NEEDS = MappingProxyType(  # best first; the same demands as runtime/cpu.cc makes
    {
        "avx512": frozenset({"avx2", "fma", "avx512f", "avx512vl", "avx512dq", "avx512bw"}),
        "avx2": frozenset({"avx2", "fma"}),
    }
)
_TOLD = ("avx512_vnni", "avx512_bf16", "avx512vbmi", "avx_vnni", "amx_int8", "asimd", "sve")


@dataclass(frozen=True)
class Host:
    """`isa`: the best of our kernels' instruction sets that the CPU has; `features`: others worth knowing of."""

    cpu: str
    isa: str
    threads: int
    onnxruntime: str
    features: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report's "host" object."""
        return {**asdict(self), "features": list(self.features)}


def host(threads: int | None = None) -> Host:
    """This machine, used with `threads` (None: as many as sessions take by default)."""
    name, flags = parse_cpuinfo(_cpuinfo())
    isa = next((isa for isa, needs in _NEEDS.items() if needs <= flags), "portable")
    features = tuple(feature for feature in _TOLD if feature in flags)
    return Host(name, isa, threads or default_threads(), ort.__version__, features)


def parse_cpuinfo(text: str) -> tuple[str, frozenset[str]]:
    """The CPU's name and instruction-set flags out of /proc/cpuinfo, x86's or Arm's."""
    name = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    return name[1].strip() if name else platform.machine(), frozenset(flags[1].split() if flags else ())


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.is_file() else ""
