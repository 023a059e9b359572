"""3x3 layers of ResNet-50 and VGG from 128 channels up, factored, as models of their own, batch 1, random weights.

The dense Conv against its rewrites in standard operators: `penni` with few bases, `kronecker` with one product of a
quarter or a sixteenth of the numbers. Times do not depend on values.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean, median
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from figures.effort import Effort, Request
from figures.figure import Column, Figure, Row
from figures.single_conv import ConvLayer, Measured, compare_models
from onnxcomp.convolution import Convolution
from onnxcomp.factored import kronecker as emission
from onnxcomp.factored.geometry import Geometry
from onnxcomp.factored.shared_basis import basis_first
from onnxcomp.factored.target import Target
from onnxcomp.fragment import Fragment
from onnxcomp.numerics import kronecker
from onnxcomp.numerics.kronecker import Factors, KroneckerShape
from onnxcomp.report.text import count

LAYERS = (
    ConvLayer("ResNet 128@28", 128, 128, 28),
    ConvLayer("ResNet 128@56, stride 2", 128, 128, 56, stride=2),
    ConvLayer("ResNet 256@14", 256, 256, 14),
    ConvLayer("ResNet 256@28, stride 2", 256, 256, 28, stride=2),
    ConvLayer("ResNet 512@7", 512, 512, 7),
    ConvLayer("ResNet 512@14, stride 2", 512, 512, 14, stride=2),
    ConvLayer("VGG 128@112", 128, 128, 112),
    ConvLayer("VGG 128-256@56", 128, 256, 56),
    ConvLayer("VGG 256@56", 256, 256, 56),
    ConvLayer("VGG 256-512@28", 256, 512, 28),
    ConvLayer("VGG 512@28", 512, 512, 28),
    ConvLayer("VGG 512@14", 512, 512, 14),
)
_OPSET = 13

Built = tuple[NDArray[np.float64], Callable[[Target], Fragment]]
"""W, and what makes the rewrite of a Conv of W."""


@dataclass(frozen=True)
class Penni:
    """`d` shared bases, basis first."""

    d: int

    def build(self, layer: ConvLayer, rng: np.random.Generator) -> Built:
        """With normal coefficients and bases."""
        coefficients = rng.standard_normal((layer.c_out, layer.c_in, self.d))
        bases = rng.standard_normal((self.d, layer.kernel, layer.kernel))
        weight = np.tensordot(coefficients, bases, axes=1)
        return weight, lambda target: basis_first(target, coefficients, bases)


@dataclass(frozen=True)
class Kronecker:
    """One product whose first factor takes `f1` output and `c1` input channels."""

    f1: int
    c1: int

    def build(self, layer: ConvLayer, rng: np.random.Generator) -> Built:
        """With normal factors."""
        shape = KroneckerShape(
            self.f1, layer.c_out // self.f1, self.c1, layer.c_in // self.c1, 1, layer.kernel, 1, layer.kernel
        )
        factors = Factors(rng.standard_normal((1, *shape.a)), rng.standard_normal((1, *shape.b)))
        return kronecker.reconstruct(factors), lambda target: emission.kronecker(target, [factors])


FORMS: Mapping[str, Penni | Kronecker] = MappingProxyType(
    {
        "penni, d = 2": Penni(2),
        "penni, d = 3": Penni(3),
        "penni, d = 5": Penni(5),
        "kronecker, 1/4": Kronecker(2, 2),
        "kronecker, 1/16": Kronecker(4, 4),
    }
)
BY_NODE = " by node"
COLUMNS = (
    Column("layer", "layer"),
    Column("dense_ms", "dense ms", ".3f"),
    *(Column(name, name, "x") for name in FORMS),
    Column("rel_l2", "rel L2", ".0e"),
)
WHAT = (
    "speedups are session against session, NCHW at both ends; 'by node' compares all nodes of a rewrite with the dense "
    "one without its conversions; kronecker: one product, of a quarter or a sixteenth of the parameters"
)


def measure(request: Request, layers: Sequence[ConvLayer] = LAYERS) -> Iterator[Figure]:
    """A figure for each number of threads."""
    for threads in request.threads:
        found = [_measured(layer, threads, request.effort) for layer in layers]
        rows = [row for row, _ in found]
        means = [
            {"layer": f"geometric mean{kind}", **{name: _mean(rows, name + kind) for name in FORMS}}
            for kind in ("", BY_NODE)
        ]
        title = f"factored 3x3 layers, {count(threads, 'thread')}, batch 1"
        faults = tuple(fault for _, wrong in found for fault in wrong)
        yield Figure("factored", title, COLUMNS, (*rows, *means), (WHAT,), faults)


def _mean(rows: Sequence[Row], key: str) -> float:
    return geometric_mean(float(row[key] or 0) for row in rows)


def _measured(layer: ConvLayer, threads: int, effort: Effort) -> tuple[Row, list[str]]:
    """A row, and what was wrong with the answers. Every form has a dense weight of its own, timed beside it."""
    found: dict[str, Measured] = {}
    for name, form in FORMS.items():
        weight, rewrite = form.build(layer, np.random.default_rng(0))
        target = _target(layer, weight.astype(np.float32))
        models = [_model(fragment, layer) for fragment in (target.fragment, rewrite(target))]
        found[name] = compare_models(layer, models, threads, effort)
    row: Row = {
        "layer": layer.name,
        "dense_ms": median(one.dense_ms for one in found.values()),
        **{name: one.speedup for name, one in found.items()},
        **{name + BY_NODE: one.node_speedup for name, one in found.items()},
        "rel_l2": max(one.rel_l2 for one in found.values()),
    }
    return row, [f"{name}: {one.fault}" for name, one in found.items() if one.fault]


def _target(layer: ConvLayer, weight: NDArray[np.float32]) -> Target:
    """The layer's Conv, X -> Y, with a bias of zeros, which keeps ONNX Runtime on its fast path."""
    bias = np.zeros(layer.c_out, np.float32)
    node = helper.make_node("Conv", ["X", "W", "B"], ["Y"], **layer.attributes)
    convolution = Convolution(weight, bias, layer.attributes, layer.group)
    geometry = Geometry.of(convolution, (layer.side,) * 2)
    assert isinstance(geometry, Geometry)
    return Target(Fragment((node,), {"W": weight, "B": bias}, ("X",), ("Y",)), convolution, geometry, (layer.side,) * 2)


def _model(fragment: Fragment, layer: ConvLayer) -> bytes:
    shape = (1, layer.c_in, layer.side, layer.side)
    return bytes(fragment.model({"X": shape}, {}, _OPSET).SerializeToString())
