"""What stands in for a layer's weight is fitted to data: one layer after the other, each to what those before it left.

The stand-in W' and its bias b' of a layer are to turn the inputs x' that it will get, from layers that are stand-ins
already, into the outputs y of the original network:

    minimise E |y - W' x' - b'|^2

With the moments of both networks about their means this is tr((W* - W') H (W* - W')^T) up to a constant, where
H = E[x' x'^T] and W* = E[y x'^T] H^-1, and b' = E[y] - W' E[x'] whatever W' is. So errors do not pile up: on CIFAR
networks this is worth more than any other choice of method. Where y is added to a shortcut s that is s' by now, the
layer is to give y + s - s', which mends what the layers under the shortcut left.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxcomp.calibration import Data
from onnxcomp.calibration.moments import Moments, layer_moments
from onnxcomp.convolution import Convolution, is_standard
from onnxcomp.errors import ModelError
from onnxcomp.fragment import Fragment, renamed, splice, unique
from onnxcomp.linear import Linear
from onnxcomp.model import Model
from onnxcomp.numerics.moments import Array, damped, energy, restoring_scale, rows, target

SAMPLES = 1024  # of the data, from its start; more gained nothing in measurements
DAMPING = 1e-4  # of H's mean diagonal: what the samples hardly show stays as it was
_BATCH = 32


@dataclass(frozen=True, eq=False)
class LayerProblem:
    """W* in the shape of W, and H (Q, Q) or (group, Q, Q), the norm in which W' is to be near it."""

    weight: Array
    moment: Array
    mean: Array  # E[x'] (group, Q)
    output_mean: Array  # E[y] (C_out), the layer's bias included
    output_std: Array  # of y (C_out)

    def bias(self, weight: NDArray[np.floating]) -> NDArray[np.float32]:
        """b' (C_out) that goes with W' = `weight`: what keeps the outputs' means."""
        mean = rows(weight, self.moment) @ self.mean.reshape(*self.moment.shape[:-1], 1)
        return (self.output_mean - mean.ravel()).astype(np.float32)

    def error(self, weight: NDArray[np.floating]) -> float:
        """What W' = `weight` loses of the output's variation (relative L2), beyond what W* does not reach either."""
        lost, whole = energy(self.weight - weight, self.moment), float(np.square(self.output_std).sum())
        return math.sqrt(lost / whole) if whole else math.inf if lost else 0.0

    @property
    def damped(self) -> Array:
        """H + lambda I: the norm in which W* is the optimum of the ridge problem that it solves.

        With it a constrained W' is held to W* also in directions of which the data shows next to nothing, where least
        squares would blow it up.
        """
        return damped(self.moment, DAMPING)

    def scale(self, weight: NDArray[np.floating]) -> Array:
        """What multiplies the rows (C_out) of W' = `weight` so that every output deviates from its mean as y does.

        Zeros and least squares alike make outputs smaller that they cannot reproduce, and layers behind expect them as
        large as they were.
        """
        return restoring_scale(weight, self.moment, self.output_std)


class Layerwise:
    """The original network beside one in which layers have been replaced so far."""

    def __init__(self, original: Model, data: Data, threads: int | None = None, seed: int = 0) -> None:
        self._original = original
        self._data = _First(data)
        self._threads = threads
        self._seed = seed

    @cached_property
    def _current(self) -> Model:
        return self._original.clone()

    def problem(self, output: str, *, sequential: bool = True) -> LayerProblem:
        """Of the layer that gives `output`; where not `sequential`, as if no other layer had been replaced.

        Layers are Conv, Gemm and MatMul.
        Raises ModelError and DataError as `layer_moments` does.
        """
        weight, bias = _numbers(self._original, output)
        ((_, found),) = layer_moments(
            self._current if sequential else self._original,
            [output],
            self._data,
            reference=self._original,
            shortcuts=_shortcut(self._original, output) if sequential else {},
            batch=_BATCH,
            seed=self._seed,
            threads=self._threads,
        )
        return _problem(weight, bias, found)

    def settle(self, replaced: Fragment) -> None:
        """From now on the network has `replaced` where it gave the same outputs; what it reads is still there."""
        tensors = self._current.graph.tensors()
        outputs = [name for proto in replaced.nodes for name in proto.output if name in tensors]
        taken = {*tensors, *replaced.constants}
        names = {name: unique(name, taken) for name in replaced.constants}
        splice(self._current, [tensors[name].inputs[0] for name in outputs], renamed(replaced, names))


def _numbers(model: Model, output: str) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """W (C_out, C_in / group, k...) or (N, K), and b (C_out), of the layer that gives `output`."""
    node = model.graph.tensors()[output].inputs[0]
    layer = Convolution.read(model, node) if is_standard(node, "Conv") else Linear.read(model, node)
    if isinstance(layer, str):
        raise ModelError(f"'{output}': {layer}")
    return layer.weight, layer.bias_or_zeros


def _shortcut(model: Model, output: str) -> dict[str, str]:
    """What is added to `output`, where that is all that becomes of it: a residual connection."""
    tensor = model.graph.tensors()[output]
    add = tensor.outputs[0] if len(tensor.outputs) == 1 else None
    if add is None or not is_standard(add, "Add") or model.is_interface(tensor) or model.is_captured(tensor):
        return {}
    other = next((t for t in add.inputs if t is not tensor), None)
    return {} if other is None or model.constant(other) is not None else {output: other.name}


def _problem(weight: NDArray[np.floating], bias: NDArray[np.floating], found: Moments) -> LayerProblem:
    assert found.cross is not None and found.output_mean is not None and found.output_std is not None, "has a reference"
    mean = found.mean[..., None]
    moment = found.moment - mean @ mean.swapaxes(1, 2)
    cross = found.cross - found.output_mean.reshape(*found.cross.shape[:-1], 1) @ mean.swapaxes(1, 2)
    for group, whole in enumerate(found.moment):
        if _is_rounding(moment[group], whole):  # x' does not vary: all directions count alike, W is as good as any
            moment[group] = np.eye(len(whole)) * np.trace(whole) / len(whole)
            cross[group] = rows(weight, found.moment)[group] @ moment[group]
    best = target(cross, moment, weight, DAMPING).reshape(weight.shape)
    single = len(moment) == 1
    return LayerProblem(
        best,
        moment[0] if single else moment,
        found.mean,
        found.output_mean + bias.astype(np.float64),
        found.output_std,
    )


def _is_rounding(moment: Array, whole: Array) -> bool:
    """Whether a moment about the mean (Q, Q) is no more than what rounding leaves of the `whole` one."""
    return bool(np.trace(moment) <= len(whole) * np.finfo(np.float32).eps * np.trace(whole))


class _First:
    """The first samples of a `Data`."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def batches(self, batch: int | None = None) -> Iterator[dict[str, NDArray[Any]]]:
        """Feeds until SAMPLES samples were given."""
        given = 0
        for feed in self._data.batches(batch):
            if given >= SAMPLES:
                return
            yield feed
            given += max((len(array) for array in feed.values() if array.ndim), default=1)
