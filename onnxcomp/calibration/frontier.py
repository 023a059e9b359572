"""How far into a network the data has been run already: what lies before the next layer is not computed again.

Layers are fitted in the order of the graph, each on what those before it give. All that the rest of a network needs of
what is before a layer are the tensors that are made before it, or fed, and read from it on; these are kept, for every
batch, and the data is not read again: it may be images to decode.
"""

from collections.abc import Iterator

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
        self.data = data
        self._batches = -(-samples // batch)
        self._batch = batch
        self._threads = threads
        self._max_bytes = max_bytes
        self.kept: list[Feed] = []  # batch by batch; nothing: the frontier is where the network begins
        self.passed: frozenset[str] = frozenset()  # tensors made before it

    def advance(self, model: Model, output: str, *, behind: bool = False) -> bool:
        """Up to the node of `model` that gives `output`, or `behind` it, if not there or beyond.

        False where too much would be kept.
        """
        before, live = _live(model, output, behind)
        if not before > self.passed or not live:
            return True
        found: list[Feed] = []
        taps = Taps(model, live, self._threads, self.given)
        kept, passed = self.kept, self.passed
        self.kept, self.passed = [], frozenset()  # of what is kept, a batch goes once it was read for the last time
        for number, feed in enumerate(kept or self.data.batches(self._batch)):
            found.append(taps.read(feed))
            batches = max(len(kept) or self._batches, len(found))
            if batches * _size(found[-1]) > self._max_bytes and (number == 0 or not kept):
                self.kept, self.passed = kept, passed
                return False
            if kept:
                kept[number] = {}
        self.kept, self.passed = found, before
        return True

    @property
    def given(self) -> Feed:
        """By the example of the first batch, what the rest of the network is fed; nothing where it is all of it."""
        return self.kept[0] if self.kept else {}

    def beside(self, number: int, feed: Feed) -> Feed:
        """What the rest of the network is fed of batch `number`, which is `feed` where the network begins."""
        return self.kept[number] if self.kept else feed


def side_by_side(data: Batches, batch: int, one: Frontier, other: Frontier) -> Iterator[tuple[Feed, Feed]]:
    """What the rest of two networks is fed of `data`, that of both or its start, by batches; read once, if at all."""
    if one.kept and other.kept and data is one.data:
        yield from zip(one.kept, other.kept, strict=True)
        return
    for number, feed in enumerate(data.batches(batch)):
        yield one.beside(number, feed), other.beside(number, feed)


def _size(feed: Feed) -> int:
    return sum(array.nbytes for array in feed.values())


def _live(model: Model, output: str, behind: bool) -> tuple[frozenset[str], list[str]]:
    """Tensors made before that place; what the nodes from it on read of these, or are fed."""
    nodes = model.graph.nodes
    where = next(index for index, node in enumerate(nodes) if any(t.name == output for t in node.outputs)) + behind
    made = {tensor.name for node in nodes[:where] for tensor in node.outputs if model.constant(tensor) is None}
    fed = {tensor.name for tensor in model.required_inputs()}
    read = dict.fromkeys(tensor.name for node in nodes[where:] for tensor in node.inputs)
    read.update(dict.fromkeys(tensor.name for tensor in model.graph.outputs))
    return frozenset(made), [name for name in read if name in made or name in fed]
