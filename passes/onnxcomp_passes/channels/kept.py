"""Which channels have to stay.

Channels that are tied by some operator form one class, which stays or goes as a whole. What is pinned stays; what a
channel that stays needs stays as well, until nothing more is found. This is the least set that is consistent, so the
rest is all that can go. Only then is it filled up to what operators and the runtime ask of numbers of channels.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from onnxcomp_passes.channels.flow import Flow, Mask, Read, Values, multiple


class Kept(Mapping[str, Mask]):
    """By tensor the channels that stay, and why each does."""

    def __init__(self, channels: Mapping[str, int], flows: Iterable[Flow]) -> None:
        """`channels`: the number of every tensor. Nothing is kept yet."""
        self._classes = _tied(channels, flows)
        count = max((int(one.max()) + 1 for one in self._classes.values()), default=0)
        self._kept: Mask = np.zeros(count, np.bool_)
        self._reasons: NDArray[np.object_] = np.full(count, "", object)

    def __getitem__(self, tensor: str) -> Mask:
        return self._kept[self._classes[tensor]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def __len__(self) -> int:
        return len(self._classes)

    def reason(self, tensor: str, channel: int) -> str:
        """Why `channel`, which is kept, is."""
        return str(self._reasons[self._classes[tensor][channel]])

    def keep(self, reads: Iterable[Read]) -> bool:
        """Keep what is asked for; whether that was news."""
        news = False
        for read in reads:
            wanted = self._classes[read.tensor][read.channels]
            new = wanted[~self._kept[wanted]]
            if new.size:
                news = True
                self._kept[new] = True
                self._reasons[new] = read.reason
        return news


def keep_needed(
    kept: Kept, pins: Iterable[Read], flows: Sequence[Flow], values: Mapping[str, Values], align: int
) -> None:
    """Fill `kept`. `flows` are in topological order; `align`: see `_aligned`."""
    kept.keep(pins)
    news = True
    while news:
        while kept.keep(read for flow in reversed(flows) for read in flow.reads(kept, values)):
            pass
        news = kept.keep(
            read for flow in flows for read in (*flow.evens_out(kept, align), *_aligned(flow, kept, align))
        )


def _aligned(flow: Flow, kept: Mapping[str, Mask], align: int) -> Iterable[Read]:
    """What makes the output's channels a multiple of `align`, one time at least, or all of them."""
    mask = kept[flow.output.name]
    if not mask.all():
        more = ~mask & (np.cumsum(~mask) <= multiple(int(mask.sum()), align) - mask.sum())
        reason = f"it makes their number a multiple of {align}" if align > 1 else "one has to stay"
        yield Read(flow.output.name, more, reason)


def _tied(channels: Mapping[str, int], flows: Iterable[Flow]) -> dict[str, NDArray[np.int64]]:
    """By tensor the class of each channel."""
    ends = np.cumsum([0, *channels.values()])
    start = dict(zip(channels, ends, strict=False))
    ties = [tie for flow in flows for tie in flow.ties()]
    rows = np.concatenate([np.zeros(0, np.int64), *(start[a] + i for a, i, _, _ in ties)])
    columns = np.concatenate([np.zeros(0, np.int64), *(start[b] + i for _, _, b, i in ties)])
    total = int(ends[-1])
    graph = coo_array((np.ones(len(rows), np.bool_), (rows, columns)), shape=(total, total))
    classes = connected_components(graph, directed=False)[1] if total else np.zeros(0, np.int64)
    return {name: classes[start[name] : start[name] + count] for name, count in channels.items()}
