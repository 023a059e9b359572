"""The start of what data gives."""

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from onnxcomp.calibration.data import Batches


class First:
    """The first `samples` of `data`, in whole feeds."""

    def __init__(self, data: Batches, samples: int) -> None:
        self._data = data
        self._samples = samples

    def batches(self, batch: int | None = None) -> Iterator[dict[str, NDArray[Any]]]:
        """Feeds until so many samples were given."""
        given = 0
        for feed in self._data.batches(batch):
            if given >= self._samples:
                return
            yield feed
            given += max((len(array) for array in feed.values() if array.ndim), default=1)
