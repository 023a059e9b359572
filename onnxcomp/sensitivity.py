"""What a change of the weights does to the network's outputs, on data.

Where an output looks like class scores, (N, K, 1...), it is the mean Kullback-Leibler divergence of the softmax of the
changed scores from that of the original ones; else the square of the relative L2 error. Both are of second order in
the error, so those of several layers add up, as long as they are small.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from onnxcomp.calibration.data import Batches
from onnxcomp.calibration.first import First
from onnxcomp.calibration.frontier import Frontier
from onnxcomp.calibration.taps import Taps
from onnxcomp.model import Model
from onnxcomp.runtime.session import Feed

SAMPLES = 256  # of the data, from its start
FEWEST = 16
ACTIVATIONS = 400_000_000  # of all samples, from which on fewer are taken: every candidate is a run over them
_BATCH = 8  # a larger one takes as long, and more memory
_SUM = 1e-3  # how far the sum of probabilities may be off one


class OutputChange:
    """How far from the outputs of `original` other networks' are, of the same inputs and outputs."""

    def __init__(self, original: Model, data: Batches, threads: int | None = None, samples: int = SAMPLES) -> None:
        self._original = original
        self._names = [tensor.name for tensor in original.graph.outputs]
        self._data = First(data, samples)
        self._threads = threads
        self._frontier = self._at_the_start()

    def of(self, model: Model) -> float:
        """Of `model`'s, summed over the outputs; infinite where one of them is no number any more.

        Raises ModelError where `model` does not run, DataError where the data cannot be read.
        """
        return self._change(self._outputs(model))

    def of_layer(self, models: Iterable[Model], at: str, outputs: Sequence[str]) -> list[float]:
        """The same of each, where they differ only in the nodes from the one that gives `at` to those of `outputs`.

        What is before them is not computed again as long as layers are asked about in the order of the graph, and what
        is behind them is loaded once.
        """
        if at in self._frontier.passed:
            self._frontier = self._at_the_start()
        self._frontier.advance(self._original, at)
        feeds = [self._frontier.beside(number, feed) for number, feed in enumerate(self._feeds)]
        behind = None
        changes = []
        for model in models:
            layer, found = Taps(model, outputs, self._threads, self._frontier.given), []
            for feed in feeds:
                given = {**feed, **layer.read(feed)}
                behind = behind or Taps(self._original, self._names, self._threads, given)
                found.append(behind.read(given))
            changes.append(self._change(found))
        return changes

    def _change(self, outputs: Sequence[Feed]) -> float:
        """By the outputs batch by batch."""
        changes = [change(got, want) for got, want in zip(self._whole(outputs), self._expected, strict=True)]
        total = float(sum(changes))
        return total if math.isfinite(total) else math.inf

    @cached_property
    def _expected(self) -> list[NDArray[Any]]:
        return self._whole(self._outputs(self._original))

    @cached_property
    def _feeds(self) -> list[Feed]:
        return list(self._data.batches(_BATCH))

    def _outputs(self, model: Model) -> list[Feed]:
        taps = Taps(model, self._names, self._threads)
        return [taps.read(feed) for feed in self._feeds]

    def _whole(self, outputs: Sequence[Feed]) -> list[NDArray[Any]]:
        return [np.concatenate([np.atleast_1d(one[name]) for one in outputs]) for name in self._names]

    def _at_the_start(self) -> Frontier:
        return Frontier(self._data, _BATCH, self._threads)


def samples_for(activations: int) -> int:
    """How many samples will do for a network that gives so many numbers for each."""
    return min(SAMPLES, max(FEWEST, ACTIVATIONS // max(activations, 1)))


def change(got: NDArray[Any], want: NDArray[Any]) -> float:
    """By how much `got` differs from `want`, arrays of one shape; 0 for what are no floats."""
    if not np.issubdtype(want.dtype, np.floating):
        return 0.0
    got, want = got.astype(np.float64), want.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        if _are_scores(want):
            return _divergence(got.reshape(len(got), -1), want.reshape(len(want), -1))
        whole = float(np.square(want).sum())
        lost = float(np.square(got - want).sum())
    return lost / whole if whole else math.inf if lost else 0.0


def _are_scores(values: NDArray[np.float64]) -> bool:
    """Whether they are (N, K, 1...), K classes."""
    return values.ndim >= 2 and values.shape[1] > 1 and values.size == values.shape[0] * values.shape[1]


def _divergence(got: NDArray[np.float64], want: NDArray[np.float64]) -> float:
    log_p, log_q = (_log_probabilities(scores) for scores in (want, got))
    return float(np.mean(np.sum(np.exp(log_p) * (log_p - log_q), axis=1)))


def _log_probabilities(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of softmaxed rows (N, K) as they are, of logits by a softmax."""
    if (scores >= 0).all() and (np.abs(scores.sum(axis=1) - 1) < _SUM).all():
        return np.log(np.maximum(scores, np.finfo(np.float32).tiny))
    result: NDArray[np.float64] = log_softmax(scores, axis=1)
    return result
