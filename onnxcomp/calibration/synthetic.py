"""Seeded inputs for a model without data.

Floats are drawn from the standard normal distribution, bytes (uint8) from 0..255, other integers from 0..9, bools
evenly. A free first dimension is the batch; any other free one is what the caller says, or the first of `SIDES` at
which the model runs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.calibration.data import Data
from onnxcomp.calibration.inputs import InputSpec, batched_alike
from onnxcomp.calibration.samples import Samples
from onnxcomp.errors import DataError

SIDES = (224, 32, 28, 64, 96, 128, 192, 256, 320, 416, 512, 640, 16, 8, 10, 1)
"""Values tried for free dimensions, the usual image sides first."""

_NAME = "random inputs"


@dataclass(frozen=True)
class RandomSource:
    """`count` samples; sample i depends on the seed and on i alone, so any batch holds the same ones."""

    inputs: tuple[InputSpec, ...]
    shapes: tuple[tuple[int, ...], ...]
    count: int
    seed: int
    name: str = _NAME
    kind: str = "random"
    labels: None = None

    @property
    def notes(self) -> tuple[str, ...]:
        shapes = ", ".join(f"'{i.name}' {list(s)}" for i, s in zip(self.inputs, self.shapes, strict=True))
        return (f"no data: {self.count} random inputs (seed {self.seed}), a sample of {shapes}",)

    def read(self, size: int) -> Iterator[Samples]:
        for start in range(0, self.count, size):
            samples = [self._sample(i) for i in range(start, min(start + size, self.count))]
            yield Samples({spec.name: np.stack([s[k] for s in samples]) for k, spec in enumerate(self.inputs)})

    def _sample(self, index: int) -> list[NDArray[Any]]:
        rng = np.random.default_rng([self.seed, index])
        return [_draw(rng, spec.dtype, shape) for spec, shape in zip(self.inputs, self.shapes, strict=True)]


@dataclass(frozen=True)
class RandomFeeds:
    """`feeds` whole feeds of inputs that share no first dimension to cut samples along, a scalar flag, say."""

    inputs: tuple[InputSpec, ...]
    shapes: tuple[tuple[int, ...], ...]  # whole ones
    feeds: int
    seed: int
    count: None = None
    name: str = _NAME
    kind: str = "random"
    labels: None = None

    @property
    def notes(self) -> tuple[str, ...]:
        shapes = ", ".join(f"'{i.name}' {list(s)}" for i, s in zip(self.inputs, self.shapes, strict=True))
        return (f"no data: {self.feeds} random feeds (seed {self.seed}) of {shapes}",)

    def read(self, _size: int | None) -> Iterator[Samples]:
        for index in range(self.feeds):
            rng = np.random.default_rng([self.seed, index])
            drawn = (_draw(rng, spec.dtype, shape) for spec, shape in zip(self.inputs, self.shapes, strict=True))
            yield Samples({spec.name: array for spec, array in zip(self.inputs, drawn, strict=True)})


def random_data(
    inputs: Sequence[InputSpec],
    *,
    batch: int = 1,
    seed: int = 0,
    count: int | None = None,
    dims: Mapping[str, int] | None = None,
    probe: Callable[[dict[str, NDArray[Any]]], bool] | None = None,
) -> Data:
    """`count` (None: one batch) random samples.

    `dims` gives sizes to symbolic dimensions by name; `probe(feed)` tells whether the model runs on a feed, and
    without it the first side is taken untried. Raises DataError, asking for data, where nothing runs.
    """
    known = dims or {}
    for side in SIDES if _free(inputs, known) else SIDES[:1]:
        shapes = tuple(_sample_shape(spec, known, side) for spec in inputs)
        size = next((spec.fixed_batch for spec in inputs if spec.fixed_batch), batch)
        source: RandomSource | RandomFeeds
        if batched_alike(inputs):
            source = RandomSource(tuple(inputs), shapes, max(count or size, size), seed)
        else:
            whole = tuple(
                (spec.fixed_batch or batch, *s) if spec.shape else () for spec, s in zip(inputs, shapes, strict=True)
            )
            source = RandomFeeds(tuple(inputs), whole, count or 1, seed)
        data = Data(source, inputs)
        if probe is None or probe(next(data.batches(batch))):
            return data
    shapes_wanted = ", ".join(f"'{spec.name}' {spec}" for spec in inputs)
    raise DataError(f"the model runs on no random input of {shapes_wanted}; give inputs with --data")


def _free(inputs: Sequence[InputSpec], known: Mapping[str, int]) -> bool:
    return any(not isinstance(d, int) and d not in known for spec in inputs for d in spec.shape[1:])


def _sample_shape(spec: InputSpec, known: Mapping[str, int], side: int) -> tuple[int, ...]:
    return tuple(d if isinstance(d, int) else known.get(d or "", side) for d in spec.shape[1:])


def _draw(rng: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if dtype.kind == "f":
        return rng.standard_normal(shape, np.float32).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    return rng.integers(0, 256 if dtype == np.uint8 else 10, shape).astype(dtype)
