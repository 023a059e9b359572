"""The cost model: its two regimes, and that a fit finds the constants that made the times."""

import pytest

from onnxcomp.cost.layers import LayerClass
from onnxcomp.cost.skimcaffe import Machine, Work, dense_ms, fit, sparse_ms

MACHINE = Machine(flops_per_s=1e11, bytes_per_s=lambda working_set: 1e10 if working_set > 1e6 else 1e11)
DENSITIES = (0.02, 0.05, 0.1, 0.3, 1.0)


def test_work_of_a_layer() -> None:
    work = LayerClass(3, 32, 64, 9, stride=2, group=2).work(0.25)
    assert work.flops == 2 * 5 * 5 * 64 * 16 * 9
    assert work.activation_bytes == 4 * (32 * 81 + 64 * 25)
    assert work.weight_bytes == 4 * 64 * 16 * 9
    assert work.working_set_bytes == work.activation_bytes + work.weight_bytes / 4


def test_arithmetic_or_traffic_bounds() -> None:
    work = Work("any", flops=1e9, activation_bytes=2e6, weight_bytes=1e6, density=0.5)
    assert dense_ms(work, MACHINE) == pytest.approx(10)
    assert sparse_ms(work, MACHINE, alpha=3, beta=2) == pytest.approx(15)
    assert sparse_ms(work, MACHINE, alpha=0.01, beta=2) == pytest.approx(1e3 * (2e6 + 2 * 0.5e6) / 1e10)
    small = Work("any", flops=1.0, activation_bytes=2e5, weight_bytes=1e5, density=0.5)
    assert sparse_ms(small, MACHINE, alpha=1, beta=2) == pytest.approx(1e3 * 3e5 / 1e11)


@pytest.mark.parametrize(("alpha", "beta"), [(2.5, 3.0), (0.8, 20.0), (6.0, 0.5)])
def test_a_fit_finds_the_constants(alpha: float, beta: float) -> None:
    layers = (LayerClass(3, 64, 64, 56), LayerClass(3, 512, 512, 8), LayerClass(3, 2, 8, 512))
    works = [layer.work(density) for layer in layers for density in DENSITIES]
    (found,) = fit([(work, sparse_ms(work, MACHINE, alpha, beta)) for work in works], MACHINE)
    assert (found.kind, found.points) == ("spatial", 15)
    assert found.alpha == pytest.approx(alpha, rel=0.01)
    assert found.median_ratio == pytest.approx(1, abs=0.01)


def test_a_fit_says_how_far_off_it_is() -> None:
    work = LayerClass(1, 64, 64, 56).work(0.5)
    (found,) = fit([(work, 1.0), (work, 4.0)], MACHINE)
    assert found.kind == "pointwise" and found.median_ratio == pytest.approx(2, rel=0.3)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (LayerClass(3, 8, 8, 8), "spatial"),
        (LayerClass(3, 8, 8, 7), "spatial, small map"),
        (LayerClass(1, 8, 8, 8), "pointwise"),
        (LayerClass(1, 8, 8, 7), "pointwise, small map"),
        (LayerClass(3, 8, 8, 7, stride=2), "strided"),
    ],
)
def test_kinds(layer: LayerClass, kind: str) -> None:
    assert layer.work(0.1).kind == kind
