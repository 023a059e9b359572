"""The pattern that zeros form in a weight."""

import numpy as np
import pytest

from onnxcomp.structure import structure_of
from tests.passes.graphs import sparse

RNG = np.random.default_rng(0)


def blocks(height: int, shape: tuple[int, ...] = (32, 16, 3, 3)) -> np.ndarray:
    """Whole runs of `height` output channels zero or not, at one input channel and tap."""
    kept = RNG.random((shape[0] // height, *shape[1:])) < 0.3
    return sparse(shape, 0.0) * np.repeat(kept, height, axis=0).astype(np.float32)


def windows(kept: int, shape: tuple[int, ...] = (8, 32, 3, 3)) -> np.ndarray:
    """`kept` of every 16 input channels."""
    places = np.argsort(RNG.random((shape[0], shape[1] // 16, 16, 9)), axis=2) < kept
    return sparse(shape, 0.0) * places.reshape(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("weight", "pattern"),
    [
        (sparse((16, 8, 3, 3), 0.0), "dense"),
        (sparse((16, 8, 3, 3), 0.03), "dense"),
        (sparse((16, 8, 3, 3), 0.6), "unstructured"),
        (sparse((10, 7)), "unstructured"),
        (blocks(16), "16x1 blocks"),
        (blocks(4), "4x1 blocks"),
        (windows(4), "4:16"),
        (windows(8), "8:16"),
        (windows(12), "unstructured"),
        (np.zeros((16, 4, 3, 3), np.float32), "16x1 blocks"),
        (np.zeros((0, 4, 3, 3), np.float32), "dense"),
    ],
)
def test_patterns(weight: np.ndarray, pattern: str) -> None:
    assert structure_of(weight).pattern == pattern


def test_few_values_are_counted() -> None:
    """A codebook of 256 is worth naming; in a weight of no more elements any is."""
    few, many, most = (RNG.choice(n, (16, 64, 3, 3)).astype(np.float32) + 1 for n in (3, 256, 257))
    assert [structure_of(weight).distinct for weight in (few, many, most)] == [3, 256, None]
    assert str(structure_of(few)) == "dense, codebook of 3 values"
    assert str(structure_of(few[:1, :2])) == "dense"
    assert str(structure_of(np.ones((16, 64, 3, 3), np.float32))) == "dense, codebook of 1 value"


def test_dead_outputs_are_counted() -> None:
    weight = sparse((10, 32, 3, 3), 0.6)
    weight[3] = 0
    assert str(structure_of(weight)) == "unstructured, 1 dead output"
    weight[7] = 0
    assert str(structure_of(weight)) == "unstructured, 2 dead outputs"


def test_figures() -> None:
    weight = sparse((16, 8, 3, 3), 0.6)
    weight[3] = weight[7] = 0
    found = structure_of(weight)
    assert (found.size, found.nonzero) == (weight.size, int(np.count_nonzero(weight)))
    assert found.zeros == 1 - found.nonzero / found.size
    assert (found.dead_outputs, found.distinct) == (2, None)
    assert structure_of(np.zeros((0, 3), np.float32)).zeros == 0
