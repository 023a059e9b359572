"""Minimum cuts: the cheapest division of things into two sides, where parting some of them costs.

Exact and fast for any number of yes-or-no decisions whose joint costs only ever punish a difference (Greig, Porteous
and Seheult, 1989).
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Set
from types import MappingProxyType

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

_FINEST_MS = 1e-6  # costs become whole nanoseconds
_LARGEST = 1 << 29  # what all finite costs may add up to: flows are 32-bit integers


class Cut:
    """Costs in milliseconds between things, each of which goes to the side of `SOURCE` or of `SINK`."""

    SOURCE = "source"
    SINK = "sink"

    def __init__(self) -> None:
        self._costs: dict[tuple[Hashable, Hashable], float] = defaultdict(float)

    def add(self, a: Hashable, b: Hashable, ms: float) -> None:
        """Charge `ms`, infinity for never, where `a` is on the side of the source and `b` on that of the sink."""
        if a != b and ms > 0:
            self._costs[a, b] += ms

    @property
    def costs(self) -> Mapping[tuple[Hashable, Hashable], float]:
        """By pair, what parting it costs; infinity for never."""
        return MappingProxyType(self._costs)

    def copy(self) -> "Cut":
        """One to add to."""
        other = Cut()
        other._costs.update(self._costs)
        return other

    def cost(self, plain: Set[Hashable]) -> float:
        """Of the division that puts `plain` on the side of the sink, the sink among them."""
        return sum(ms for (a, b), ms in self._costs.items() if b in plain and a not in plain)

    def on_sinks_side(self) -> set[Hashable]:
        """What the cheapest division puts with the sink; what would cost the same on both sides is left out."""
        things = dict.fromkeys((self.SOURCE, self.SINK, *(thing for pair in self._costs for thing in pair)))
        index = {thing: number for number, thing in enumerate(things)}
        unit_ms = max(_FINEST_MS, sum(ms for ms in self._costs.values() if math.isfinite(ms)) / _LARGEST)
        weights = [2 * _LARGEST if math.isinf(ms) else round(ms / unit_ms) for ms in self._costs.values()]
        rows, columns = zip(*((index[a], index[b]) for a, b in self._costs), strict=True) if self._costs else ((), ())
        shape = (len(index), len(index))
        capacity = csr_array((np.array(weights, np.int32), (rows, columns)), shape=shape)
        left = capacity - maximum_flow(capacity, index[self.SOURCE], index[self.SINK]).flow
        left.eliminate_zeros()
        reached = breadth_first_order(left.T.tocsr(), index[self.SINK], return_predecessors=False)
        names = list(things)
        return {names[number] for number in reached}
