"""Quantiles of streams: exact while few, close and never too low when many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnxcomp.verify import quantile
from onnxcomp.verify.quantile import Quantile

VALUES = arrays(np.float64, st.integers(1, 200), elements=st.floats(0, 1e30))


def of(parts: list[np.ndarray], share: float) -> float:
    sketch = Quantile()
    for part in parts:
        sketch.add(part)
    return sketch.at(share)


@settings(deadline=None)
@given(values=VALUES, share=st.floats(0, 1), cut=st.integers(0, 200))
def test_exact_below_the_cap(values: np.ndarray, share: float, cut: int) -> None:
    expected = np.sort(values)[max(1, int(np.ceil(share * values.size))) - 1]
    assert of([values[:cut], values[cut:]], share) == expected


@settings(deadline=None)
@given(values=VALUES, share=st.floats(0, 1), cut=st.integers(0, 200))
def test_close_above_it_and_not_below(values: np.ndarray, share: float, cut: int) -> None:
    exact = np.sort(values)[max(1, int(np.ceil(share * values.size))) - 1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantile, "EXACT", 0)
        found = of([values[:cut], values[cut:]], share)
    tiny = float(np.finfo(np.float32).tiny)
    assert exact * (1 - 1e-7) - tiny <= found <= exact * (1 + 1 / 64) + tiny


def test_a_million_in_bounded_memory() -> None:
    rng = np.random.default_rng(0)
    sketch = Quantile()
    for _ in range(10):
        sketch.add(rng.random(100_000))
    assert sketch.count == 1_000_000 and not sketch._held
    assert 0.99 * (1 - 1e-3) <= sketch.at(0.99) <= 0.99 * (1 + 1 / 64) + 1e-3
    assert sketch.at(1.0) == sketch.max


def test_nothing_and_zeros() -> None:
    assert Quantile().at(0.99) == 0.0
    assert of([np.empty(0), np.zeros(quantile.EXACT + 1)], 0.99) == 0.0
