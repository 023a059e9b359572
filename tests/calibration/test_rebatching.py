"""Cutting and joining: no sample lost, none twice, none out of order, however the source cuts them."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxcomp.calibration import open_data
from onnxcomp.calibration.samples import Samples, rebatch
from onnxcomp.errors import DataError


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12), batch=st.integers(1, 12))
def test_all_samples_in_order_in_whole_batches(lengths: list[int], batch: int) -> None:
    total = sum(lengths)
    parts = np.split(np.arange(total), np.cumsum(lengths)[:-1])
    found = list(rebatch((Samples({"x": part}, -part) for part in parts), batch))
    assert [samples.count for samples in found] == [batch] * (total // batch) + [total % batch] * (total % batch > 0)
    assert np.concatenate([samples.arrays["x"] for samples in found]).tolist() == list(range(total))
    assert np.concatenate([samples.labels for samples in found]).tolist() == [-i for i in range(total)]


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6))
def test_the_hash_does_not_see_the_cutting(lengths: list[int]) -> None:
    x = np.arange(sum(lengths), dtype=np.float32)

    def feeds() -> Iterator[np.ndarray]:
        yield from np.split(x, np.cumsum(lengths)[:-1])

    specs = [("x", np.float32, ["N"])]
    assert open_data(feeds, specs).hash == open_data({"x": x}, specs).hash


def test_samples_of_other_shape_start_a_batch_of_their_own() -> None:
    def feeds() -> Iterator[np.ndarray]:
        for length, side in ((3, 4), (2, 8), (1, 8)):
            yield np.zeros((length, side), np.float32)

    data = open_data(feeds, [("x", np.float32, ["N", "W"])])
    assert [feed["x"].shape for feed in data.batches(2)] == [(2, 4), (1, 4), (2, 8), (1, 8)]
    fixed = open_data(feeds, [("x", np.float32, [2, "W"])])
    with pytest.raises(DataError, match="change their shape within a batch of 2"):
        list(fixed.batches())


def test_a_batch_of_nothing() -> None:
    with pytest.raises(DataError, match="batch of 0"):
        next(open_data({"x": [1.0]}, [("x", np.float32, ["N"])]).batches(0))
