"""How far into a network the data has been run already: what lies before the next layer is not computed again.

Layers are fitted in the order of the graph, each on what those before it give. All that the rest of a network needs of
what is before a layer are the tensors that are made before it and read from it on; these are kept, for every batch.
"""

from onnxcomp.calibration.data import Batches
from onnxcomp.calibration.taps import Taps
from onnxcomp.model import Model
from onnxcomp.runtime.session import Feed

MAX_BYTES = 1 << 29  # of tensors kept; where they are larger the frontier stays where it was


class Frontier:
    """Of one network on `data`. It is right as long as what is before it does not change, see `passed`.

    Where the number of `samples` is known, the first batch tells that too much would be kept.
    """

    def __init__(
        self, data: Batches, batch: int, threads: int | None = None, max_bytes: int = MAX_BYTES, samples: int = 0
    ) -> None:
        self._data = data
        self._batches = -(-samples // batch)
        self._batch = batch
        self._threads = threads
        self._max_bytes = max_bytes
        self._kept: list[Feed] = []  # nothing: the frontier is where the network begins
        self.passed: frozenset[str] = frozenset()  # tensors made before it

    def advance(self, model: Model, output: str) -> bool:
        """Up to the node of `model` that gives `output`, if not there or beyond; False where too much would be kept."""
        before, live = _live(model, output)
        if not before > self.passed or not live:
            return True
        found: list[Feed] = []
        taps = Taps(model, live, self._threads, self.given)
        kept, passed = self._kept, self.passed
        self._kept, self.passed = [], frozenset()  # of what is kept, a batch goes once it was read for the last time
        for number, feed in enumerate(self._data.batches(self._batch)):
            found.append(taps.read({**feed, **kept[number]} if kept else feed))
            batches = max(len(kept) or self._batches, len(found))
            if batches * _size(found[-1]) > self._max_bytes and (number == 0 or not kept):
                self._kept, self.passed = kept, passed
                return False
            if kept:
                kept[number] = {}
        self._kept, self.passed = found, before
        return True

    @property
    def given(self) -> Feed:
        """What a feed has beside the network's inputs, of one of them."""
        return self._kept[0] if self._kept else {}

    def beside(self, number: int, feed: Feed) -> Feed:
        """`feed`, batch `number` of the network's inputs, and what is kept of that batch."""
        return {**feed, **self._kept[number]} if self._kept else feed


def _size(feed: Feed) -> int:
    return sum(array.nbytes for array in feed.values())


def _live(model: Model, output: str) -> tuple[frozenset[str], list[str]]:
    """Tensors made before the node that gives `output`, and those of them that it or what is behind it needs."""
    nodes = model.graph.nodes
    where = next(index for index, node in enumerate(nodes) if any(t.name == output for t in node.outputs))
    made = {tensor.name for node in nodes[:where] for tensor in node.outputs if model.constant(tensor) is None}
    read = dict.fromkeys(tensor.name for node in nodes[where:] for tensor in node.inputs)
    read.update(dict.fromkeys(tensor.name for tensor in model.graph.outputs))
    return frozenset(made), [name for name in read if name in made]
