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
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import takewhile

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.calibration import Data
from onnxcomp.calibration.first import First
from onnxcomp.calibration.frontier import Frontier
from onnxcomp.calibration.moments import MAX_BYTES, Moments, layer_moments
from onnxcomp.convolution import Convolution, is_standard
from onnxcomp.errors import DataError, ModelError
from onnxcomp.fragment import Fragment, renamed, splice, unique
from onnxcomp.freed import give_back
from onnxcomp.linear import Linear
from onnxcomp.model import Model
from onnxcomp.numerics import als, shared_basis
from onnxcomp.numerics.admm import Norm
from onnxcomp.numerics.moments import Array, damped, energy, output_statistics, restoring_scale, rows, target
from onnxcomp.numerics.shared_basis import Decomposition

SAMPLES = 1024  # of the data, from its start; more gained nothing in measurements
FEWEST_SAMPLES = 64  # where what lies before a layer is too large to be kept: the image is large, a few show enough
COLUMNS = 1 << 15  # of a layer's input, from all samples
FEWEST = 8  # columns for each row of H
AT_ONCE = 1 << 30  # bytes of moments that are gathered for other processes, and not kept
DAMPING = 1e-4  # of H's mean diagonal: what the samples hardly show stays as it was
_BATCH, _LARGE_BATCH = 32, 8  # of small inputs and of large ones, which take as long in small batches, and less memory
_LARGE_INPUT = 1 << 15  # numbers of a sample
_BATCH_OF_ALL = 4  # where the inputs of many layers are read in one run: of a ResNet-50 they are 90 MB a sample


@dataclass(frozen=True, eq=False)
class LayerProblem:
    """W* in the shape of W, and H (Q, Q) or (group, Q, Q), the norm in which W' is to be near it."""

    weight: Array
    moment: Array
    mean: Array  # E[x'] (group, Q)
    output_mean: Array  # E[y] (C_out), the layer's bias included
    output_std: Array  # of y (C_out)
    rough: bool = False  # what is fitted is to be told apart, not kept

    @property
    def sweeps(self) -> int:
        """Of alternating least squares; a rough one leaves errors some 1 % larger."""
        return 1 if self.rough else als.SWEEPS

    @property
    def size(self) -> int:
        """Q."""
        return int(self.moment.shape[-1])

    @property
    def moments(self) -> Array:
        """H of each group (group, Q, Q)."""
        return self.moment.reshape(-1, self.size, self.size)

    def bias(self, weight: NDArray[np.floating]) -> NDArray[np.float32]:
        """b' (C_out) that goes with W' = `weight`: what keeps the outputs' means."""
        mean = rows(weight, self.moment) @ self.mean.reshape(*self.moment.shape[:-1], 1)
        return (self.output_mean - mean.ravel()).astype(np.float32)

    def error(self, weight: NDArray[np.floating]) -> float:
        """What W' = `weight` loses of the output's variation (relative L2), beyond what W* does not reach either."""
        lost, whole = energy(self.weight - weight, self.moment), float(np.square(self.output_std).sum())
        return math.sqrt(lost / whole) if whole else math.inf if lost else 0.0

    @cached_property
    def damped(self) -> Array:
        """H + lambda I: the norm in which W* is the optimum of the ridge problem that it solves.

        With it a constrained W' is held to W* also in directions of which the data shows next to nothing, where least
        squares would blow it up.
        """
        return damped(self.moment, DAMPING)

    def norm(self, *, scaled: bool = True) -> Norm:
        """Of `damped`: scaled for patterns of zeros, not scaled for blocks of one magnitude.

        One serves all that the layer is tried with; the last one asked for is kept, as each is as large as H.
        """
        if scaled not in self._norms:
            self._norms.clear()
            self._norms[scaled] = Norm.of(self.damped, scaled)
        return self._norms[scaled]

    @cached_property
    def _norms(self) -> dict[bool, Norm]:
        return {}

    def shared_basis(self, d: int, sweeps: int) -> Decomposition:
        """W*'s in `d` bases, by that many sweeps of least squares; one serves every share of zeros."""
        if (d, sweeps) not in self._bases:
            self._bases[d, sweeps] = shared_basis.decompose(self.weight, d, self.moment, sweeps)
        return self._bases[d, sweeps]

    @cached_property
    def _bases(self) -> dict[tuple[int, int], Decomposition]:
        return {}

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
        self._data = First(data, SAMPLES)
        self._threads = threads
        self._seed = seed
        self._samples = min(SAMPLES, data.used)
        self._ahead: dict[str, Moments] = {}
        self._alone: dict[str, LayerProblem] = {}

    @cached_property
    def _current(self) -> Model:
        return self._original.clone()

    @cached_property
    def _frontiers(self) -> tuple[Frontier, Frontier]:
        """Of the current network and of the original."""
        return self._at_the_start(), self._at_the_start()

    @cached_property
    def _batch(self) -> int:
        numbers = sum(array.size for array in next(self._data.batches(1)).values())
        return _BATCH if numbers < _LARGE_INPUT else _LARGE_BATCH

    def problem(self, output: str, *, sequential: bool = True) -> LayerProblem:
        """Of the layer that gives `output`; where not `sequential`, as if no other layer had been replaced.

        Layers are Conv, Gemm and MatMul.
        Raises ModelError and DataError as `layer_moments` does.
        """
        if not sequential:
            return self._problem_alone(output)
        weight, bias = _numbers(self._original, output)
        current, original = self._frontiers
        # Of the original what the layer gives is read, which its next layer is run from.
        near = current.advance(self._current, output) and (
            original.advance(self._original, output, behind=True) or original.advance(self._original, output)
        )
        samples = self._samples if near else min(FEWEST_SAMPLES, self._samples)
        found = layer_moments(
            self._current,
            [output],
            self._data if near else First(self._data, samples),
            reference=self._original,
            shortcuts=_shortcut(self._original, output),
            max_columns=partial(_columns, samples),
            batch=self._batch,
            seed=self._seed,
            threads=self._threads,
            frontiers=self._frontiers,
        )
        return _problem(weight, bias, found[output])

    def gathered(self, outputs: Sequence[str]) -> dict[str, Moments]:
        """Of layers, in the graph's order, what `give` takes: of as many as are within a gigabyte, in one run.

        None where it cannot be told of the first: whoever asks for its problem is told why.
        """
        try:
            return self._moments(outputs, AT_ONCE) if outputs else {}
        except (ModelError, DataError):
            return {}

    def give(self, output: str, moments: Moments) -> None:
        """What is known of the layer's inputs in the original network need not be gathered here."""
        self._ahead = {output: moments}

    def forget(self, *, ahead: bool = False) -> None:
        """Nothing else is tried on the layer last asked for: its problem takes up half a gigabyte where it is large.

        `ahead`: nor on any behind it, what was gathered of these included.
        """
        self._alone = {}
        if ahead:
            self._ahead = {}
        give_back()

    def replaced(self, by: Fragment) -> Model:
        """The original network with `by`, and nothing else, where it gave the same outputs."""
        model = self._original.clone()
        _replace(model, by)
        return model

    def settle(self, replaced: Fragment) -> None:
        """From now on the network has `replaced` where it gave the same outputs; what it reads is still there."""
        _replace(self._current, replaced)
        current, original = self._frontiers
        if not current.passed.isdisjoint(replaced.outputs):  # what is kept is no longer what these layers give
            self._frontiers = self._at_the_start(), original

    def _at_the_start(self) -> Frontier:
        return Frontier(self._data, self._batch, self._threads, samples=self._samples)

    def _problem_alone(self, output: str) -> LayerProblem:
        """As if no other layer had been replaced; the last one is kept, for all that is tried on a layer."""
        if output not in self._alone:
            self.forget()
            weight, bias = _numbers(self._original, output)
            self._alone = {output: _alone(weight, bias, self._moments_alone(output))}
        return self._alone[output]

    def _moments_alone(self, output: str) -> Moments:
        """Of the inputs of a layer of the original network, gathered with those of the layers behind it."""
        if output not in self._ahead:
            self._ahead = self._moments(_layers_from(self._original, output))
        for name in takewhile(lambda name: name != output, list(self._ahead)):
            del self._ahead[name]
        return self._ahead.pop(output)

    def _moments(self, outputs: Sequence[str], max_bytes: int = MAX_BYTES) -> dict[str, Moments]:
        return layer_moments(
            self._original,
            outputs,
            self._data,
            max_columns=partial(_columns, self._samples),
            max_bytes=max_bytes,
            batch=_BATCH_OF_ALL,
            seed=self._seed,
            threads=self._threads,
        )


def _columns(samples: int, Q: int) -> int:
    """How many of each of so many samples."""
    return max(1, columns_for(Q) // samples)


def columns_for(Q: int) -> int:
    """How many columns H (Q, Q) is made of: enough for its size, and where there are few rows for its figures."""
    return max(COLUMNS, FEWEST * Q)


def _replace(model: Model, by: Fragment) -> None:
    """Put `by` where `model` gives the same outputs; what else stood there is still read."""
    tensors = model.graph.tensors()
    outputs = [name for proto in by.nodes for name in proto.output if name in tensors]
    taken = {*tensors, *by.constants}
    names = {name: unique(name, taken) for name in by.constants}
    splice(model, [tensors[name].inputs[0] for name in outputs], renamed(by, names))


def _layers_from(model: Model, output: str) -> list[str]:
    """`output`, a layer's, and those of the layers behind it whose weights are as well known."""
    nodes = [node for node in model.graph.nodes if is_standard(node, "Conv", "Gemm", "MatMul")]
    names = [node.outputs[0].name for node in nodes]
    start = names.index(output)
    behind = zip(nodes[start + 1 :], names[start + 1 :], strict=True)
    return [output, *(name for node, name in behind if not isinstance(_read(model, node), str))]


def _numbers(model: Model, output: str) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """W (C_out, C_in / group, k...) or (N, K), and b (C_out), of the layer that gives `output`."""
    layer = _read(model, model.graph.tensors()[output].inputs[0])
    if isinstance(layer, str):
        raise ModelError(f"'{output}': {layer}")
    return layer.weight, layer.bias_or_zeros


def _read(model: Model, node: gs.Node) -> Convolution | Linear | str:
    """The layer, or why its numbers are not known."""
    return Convolution.read(model, node) if is_standard(node, "Conv") else Linear.read(model, node)


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
    moment = _about_mean(found)
    cross = found.cross - found.output_mean.reshape(*found.cross.shape[:-1], 1) @ mean.swapaxes(1, 2)
    for group, whole in enumerate(found.moment):
        if _is_rounding(moment[group], whole):  # x' does not vary: all directions count alike, W is as good as any
            moment[group] = _identity_of(whole)
            cross[group] = rows(weight, found.moment)[group] @ moment[group]
        _lift(moment[group])
    best = target(cross, moment, weight, DAMPING).reshape(weight.shape)
    return LayerProblem(
        best,
        moment[0] if len(moment) == 1 else moment,
        found.mean,
        found.output_mean + bias.astype(np.float64),
        found.output_std,
    )


def _alone(weight: NDArray[np.floating], bias: NDArray[np.floating], found: Moments) -> LayerProblem:
    """The problem where x' is x: then W* is W, and what y is follows from the moments of x."""
    moment = _about_mean(found)
    for group, whole in enumerate(found.moment):
        if _is_rounding(moment[group], whole):
            moment[group] = _identity_of(whole)
        _lift(moment[group])
    means, _ = output_statistics(weight, found.moment, found.mean)
    _, deviations = output_statistics(weight, moment, np.zeros_like(found.mean))
    return LayerProblem(
        weight.astype(np.float64),
        moment[0] if len(moment) == 1 else moment,
        found.mean,
        means + bias.astype(np.float64),
        deviations,
    )


def _about_mean(found: Moments) -> Array:
    """The moment (group, Q, Q) of x' - E[x']."""
    mean = found.mean[..., None]
    product = mean @ mean.swapaxes(1, 2)
    return np.subtract(found.moment, product, out=product)


def _lift(moment: Array) -> None:
    """Add to a moment (Q, Q) what sums in single precision may have taken from it, so that it is one again.

    Where x' varies in few directions, factors are large in the others, and the error of no weight may be negative.
    """
    np.einsum("ii->i", moment)[:] += np.finfo(np.float32).eps * np.linalg.norm(moment)


def _identity_of(whole: Array) -> Array:
    """A moment (Q, Q) as large as `whole` in which all directions count alike."""
    moment: Array = np.eye(len(whole)) * np.trace(whole) / len(whole)
    return moment


def _is_rounding(moment: Array, whole: Array) -> bool:
    """Whether a moment about the mean (Q, Q) is no more than what rounding leaves of the `whole` one."""
    return bool(np.trace(moment) <= len(whole) * np.finfo(np.float32).eps * np.trace(whole))
