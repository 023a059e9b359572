"""What compress chooses from: each method at several strengths."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from onnxcomp_passes.kronecker import Kronecker
from onnxcomp_passes.penni import Penni
from onnxcomp_passes.prune import Prune
from onnxcomp_passes.stand_in import StandInPass
from onnxcomp_passes.unify import Unify
from onnxcomp_passes.worth import UNITS, Unit


@dataclass(frozen=True, eq=False)
class Strength:
    """A method, by its name, at one strength: a pass with those options."""

    method: str
    one: StandInPass
    measured: bool = True  # False: its time and losses lie between those of the method's strengths that are measured


@dataclass(frozen=True)
class Method:
    """A pass at several strengths: its options at each, and those few that are worth the time it takes to time them."""

    kind: type[StandInPass]
    strengths: tuple[Mapping[str, Any], ...]
    timed: tuple[Mapping[str, Any], ...] | None = None  # None: all of them
    measured: frozenset[float] | None = None  # sparsities; None: at all strengths
    saves: tuple[Unit, ...] = UNITS  # where it can be the best: it is tried where it is asked for, too
    standard: bool = False  # whether it saves time in standard operators

    def at_strengths(self, name: str, unit: Unit) -> Iterator[Strength]:
        """Of every strength, under its `name`."""
        timed = {"when": "faster" if unit == "ms" else "always"} if "when" in self.kind.Options.model_fields else {}
        for options in self.strengths if unit != "ms" or self.timed is None else self.timed:
            measured = self.measured is None or options["sparsity"] in self.measured
            yield Strength(name, self.kind(self.kind.Options(**options, **timed)), measured)


def _pruned(
    pattern: str, tried: Sequence[float], timed: Sequence[float], measured: Sequence[float], saves: tuple[Unit, ...]
) -> Method:
    """Zeros in that pattern: the sparsities that are tried, those of them for time, and those that are measured."""
    options, for_time = (
        tuple({"sparsity": sparsity, "pattern": pattern} for sparsity in some) for some in (tried, timed)
    )
    return Method(Prune, options, for_time, frozenset(measured), saves)


_SHARES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98)  # fewer zeros gain no time

METHODS = MappingProxyType(
    {
        "prune": _pruned("unstructured", (0.2, 0.3, 0.4, *_SHARES), _SHARES, (0.2, 0.5, 0.75, 0.9, 0.98), UNITS),
        "prune-4x1": _pruned("4x1", (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8), (0.6,), (0.2, 0.4, 0.6, 0.8), ("ms",)),
        "prune-16x1": _pruned("16x1", (0.2, 0.3, 0.4, 0.5, 0.6, 0.7), (0.5, 0.7), (0.2, 0.3, 0.5, 0.7), ("ms",)),
        "prune-n:16": _pruned(
            "n:16", (0.25, 0.375, 0.5, 0.625, 0.75, 0.8125, 0.875), (0.75,), (0.25, 0.5, 0.75, 0.875), ("ms",)
        ),
        "prune-4x4": _pruned("4x4", (0.2, 0.4, 0.6, 0.8), (0.6,), (0.2, 0.4, 0.6, 0.8), ()),  # made fast as 4x1
        "prune-channels": Method(
            Prune,
            tuple({"sparsity": s, "pattern": "input-channels"} for s in (0.25, 0.5, 0.75)),
            saves=(),
            standard=True,
        ),
        "penni": Method(
            Penni, ({"d": 5, "sparsity": 0.5}, {"d": 5, "sparsity": 0.8}, {"d": 4}, {"d": 3}), standard=True
        ),
        "kronecker": Method(Kronecker, ({"compression": 2.0}, {"compression": 3.0}), standard=True),
        "unify": Method(Unify, ({"unified": 1.0}, {"unified": 0.5, "pruned": 0.5}), saves=("ms", "bytes")),
    }
)
"""By the names that `methods` takes."""


def methods_for(methods: str | None, unit: Unit, *, portable: bool) -> str:
    """`methods`, or where that is None all that can be the best at saving some of `unit`; joined by +."""
    return methods or "+".join(
        name
        for name, method in METHODS.items()
        if (method.standard if unit == "ms" and portable else unit in method.saves)
    )


def strengths_of(methods: str, unit: Unit) -> list[Strength]:
    """Of the methods, joined by +, every strength."""
    return [one for name in methods.split("+") for one in METHODS[name].at_strengths(name, unit)]
