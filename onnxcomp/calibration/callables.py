"""A Python function as a source: `module:function`, or the function itself.

Called without arguments, it returns or yields feeds: dictionaries of arrays by input name, or plain arrays where the
model has one input; or pairs (feed, labels). An array holds any number of samples along its first dimension; one
without that dimension is one sample. The function is called anew for every pass over the data and gives the same
each time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.calibration.inputs import InputSpec
from onnxcomp.calibration.samples import Samples
from onnxcomp.errors import DataError
from onnxcomp.user_code import imported, theirs


@dataclass(frozen=True)
class CallableSource:
    """Feeds as the function gives them."""

    name: str
    function: Callable[[], Iterable[Any]]
    inputs: tuple[InputSpec, ...]
    kind: str = "callable"
    notes: tuple[str, ...] = ()
    count: None = None
    labels: None = None

    def read(self, size: int) -> Iterator[Samples]:
        """Feeds, however large; `size` is the function's to choose."""
        with theirs(self.name):
            feeds = iter(self.function())
        while True:
            with theirs(self.name):
                item = next(feeds, _END)
            if item is _END:
                return
            yield self._samples(item)

    def _samples(self, item: Any) -> Samples:
        feed, labels = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        if not isinstance(feed, Mapping):
            if len(self.inputs) != 1:
                raise DataError(
                    f"{self.name}: yields a {type(feed).__name__}; yield dictionaries of arrays by input name"
                )
            feed = {self.inputs[0].name: feed}
        arrays = {name: self._array(name, value) for name, value in feed.items()}
        single = bool(self.inputs) and all(
            spec.name in arrays and arrays[spec.name].ndim == len(spec.shape) - 1 for spec in self.inputs
        )
        if single:
            arrays = {name: array[np.newaxis] for name, array in arrays.items()}
        return Samples(arrays, None if labels is None else np.atleast_1d(self._array("labels", labels)))

    def _array(self, name: str, value: Any) -> NDArray[Any]:
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise DataError(f"{self.name}: '{name}' is a {type(value).__name__}, not an array of numbers; yield arrays")
        return array


def from_name(source: str, inputs: Sequence[InputSpec]) -> CallableSource:
    """Import `module:function`; modules in the working folder are found. Raises DataError."""
    return from_function(imported(source, source), inputs, source)


def from_function(function: Any, inputs: Sequence[InputSpec], name: str = "") -> CallableSource:
    """A function that returns or yields feeds. Raises DataError for what is none, a generator among them."""
    name = name or getattr(function, "__qualname__", type(function).__name__)
    if not callable(function):
        raise DataError(
            f"{name}: a {type(function).__name__} is no function that can be called again; give the function"
        )
    return CallableSource(name, function, tuple(inputs))


_END = object()
