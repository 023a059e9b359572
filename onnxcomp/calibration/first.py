"""The start of what data gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from onnxcomp.calibration.callables import CallableSource
from onnxcomp.calibration.data import Batches, Data


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


def held(data: Data, samples: int) -> Data:
    """The first `samples` of `data` in memory, to be sent elsewhere."""
    feeds = _Feeds(list(First(data, samples).batches()))
    return Data(CallableSource(data.source.name, feeds, data.inputs), data.inputs)


@dataclass(frozen=True)
class _Feeds:
    """A function that gives what it was made of."""

    feeds: list[dict[str, NDArray[Any]]]

    def __call__(self) -> list[dict[str, NDArray[Any]]]:
        return self.feeds
