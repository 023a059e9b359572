"""What compress chooses from: each method at several strengths."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from onnxcomp_passes.kronecker import Kronecker
from onnxcomp_passes.penni import Penni
from onnxcomp_passes.prune import Prune
from onnxcomp_passes.stand_in import StandInPass
from onnxcomp_passes.worth import Unit


@dataclass(frozen=True)
class Method:
    """A pass at several strengths: its options at each. `patterned` are those that save time alone."""

    kind: type[StandInPass]
    strengths: tuple[Mapping[str, Any], ...]
    patterned: tuple[Mapping[str, Any], ...] = ()

    def passes(self, unit: Unit) -> Iterator[StandInPass]:
        """Of every strength that can save some of `unit`."""
        timed = {"when": "faster" if unit == "ms" else "always"} if "when" in self.kind.Options.model_fields else {}
        for options in (*self.strengths, *(self.patterned if unit == "ms" else ())):
            yield self.kind(self.kind.Options(**options, **timed))


METHODS = MappingProxyType(
    {
        "prune": Method(
            Prune,
            tuple({"sparsity": sparsity} for sparsity in (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98)),
            (
                {"sparsity": 0.75, "pattern": "n:16"},
                {"sparsity": 0.6, "pattern": "4x1"},
                *({"sparsity": sparsity, "pattern": "16x1"} for sparsity in (0.5, 0.7)),
            ),
        ),
        "penni": Method(Penni, ({"d": 5, "sparsity": 0.5}, {"d": 5, "sparsity": 0.8}, {"d": 4}, {"d": 3})),
        "kronecker": Method(Kronecker, ({"compression": 2.0}, {"compression": 3.0})),
    }
)


def passes_of(methods: str, unit: Unit) -> list[StandInPass]:
    """Of the methods, joined by +, at every strength that can save some of `unit`."""
    return [one for name in methods.split("+") for one in METHODS[name].passes(unit)]
