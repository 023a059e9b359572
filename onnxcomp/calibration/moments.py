"""Second moments of the inputs of layers, streamed over data: what data-aware methods know of it (numerics.moments).

Layers are named by their first output tensor, which is unique in a model. With a `reference`, the dense model, moments
are of the compressed model's inputs x' and the cross moment with the dense outputs y, so that errors of earlier layers
are made good by later ones (numerics.moments.target). Where y is added to a shortcut, those of the shortcut too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.calibration.columns import Columns, ConvColumns, LinearColumns, choose
from onnxcomp.calibration.data import Batches
from onnxcomp.calibration.frontier import Frontier, side_by_side
from onnxcomp.calibration.taps import Taps
from onnxcomp.convolution import Convolution, is_standard, why_unknown
from onnxcomp.errors import DataError, ModelError
from onnxcomp.model import Model
from onnxcomp.runtime.session import Feed

Array = NDArray[np.float64]

MAX_COLUMNS = 1024  # of one sample: a 32 x 32 image whole, and enough of a larger one
MAX_BYTES = 1 << 28  # of moments gathered in one pass over the data
MAX_LAYER_BYTES = 1 << 30  # of one layer's moment: Q up to 11,585
_CHUNK = 1 << 12  # columns multiplied at once in single precision, at most; the sum over chunks is in double
_MOST = 12_000_000  # numbers in them


@dataclass(frozen=True, eq=False)
class Moments:
    """Means over columns of a layer's im2col input x (group, Q), and of the outputs y (C_out) that belong to them."""

    moment: Array  # E[x x^T] (group, Q, Q)
    mean: Array  # E[x] (group, Q)
    columns: int
    cross: Array | None = None  # E[y x^T] (group, C_out / group, Q), y the reference's output less its bias
    output_mean: Array | None = None  # E[y] (C_out)
    output_std: Array | None = None  # (C_out)


def layer_moments(
    model: Model,
    layers: Sequence[str],
    data: Batches,
    *,
    reference: Model | None = None,
    shortcuts: Mapping[str, str] = MappingProxyType({}),
    max_columns: Callable[[int], int] = lambda _: MAX_COLUMNS,
    max_bytes: int = MAX_BYTES,
    batch: int = 8,
    seed: int = 0,
    threads: int | None = None,
    frontiers: tuple[Frontier, Frontier] | None = None,
) -> dict[str, Moments]:
    """The moments of the first of `layers`, and of those behind it that are gathered in the same pass over `data`.

    Layers of `model` are Conv, Gemm and MatMul with constant weights. As many are gathered as fit into `max_bytes`,
    those left out that have no moments; memory beyond that is for `batch` samples' activations. Of each sample at most
    `max_columns(Q)` positions are taken, chosen by seed.
    `reference` has the layers by the same names; of `model` then only the tensors that they read matter, and those of
    `shortcuts`: by layer, a tensor of y's shape to which y is added. What it lacks in `model` then counts to y.
    `frontiers` are how far the same data, in the same batches, has been run through `model` and `reference`.
    Raises ModelError where the first is no such layer, is too wide or does not run, DataError where its input is not
    finite.
    """
    plans = _together(reference or model, layers, max_bytes)
    added = [shortcuts[plan.y] for plan in plans if plan.y in shortcuts]
    mine, other = frontiers or (Frontier(data, batch), Frontier(data, batch))
    taps = Taps(model, [*(plan.x for plan in plans), *added], threads, mine.given)
    dense = Taps(reference, [*(plan.y for plan in plans), *added], threads, other.given) if reference else None
    sums = [_Sums(plan, seed, max_columns(plan.Q)) for plan in plans]
    for feed, reference_feed in side_by_side(data, batch, mine, other):
        inputs = taps.read(feed)
        outputs = dense.read(reference_feed) if dense else {}
        with np.errstate(invalid="ignore", over="ignore"):  # told by `means`, with the layer's name
            for one in sums:
                y = outputs.get(one.plan.y)
                if y is not None and one.plan.y in shortcuts:
                    y = y + _lacking(inputs, outputs, shortcuts[one.plan.y], y)
                one.add(inputs[one.plan.x], y)
    with np.errstate(invalid="ignore", over="ignore"):
        for one in sums:
            one.flush()
    first, *behind = sums
    return {first.plan.y: first.means(), **{one.plan.y: one.means() for one in behind if one.is_finite}}


def _together(model: Model, layers: Sequence[str], max_bytes: int) -> "list[_Plan]":
    """The first of `layers`, and those behind it with which it is within `max_bytes`."""
    plans = [_Plan.read(model, layers[0])]
    size = plans[0].moment_bytes
    for name in layers[1:]:
        try:
            plan = _Plan.read(model, name)
        except ModelError:
            continue  # said to who asks for it
        size += plan.moment_bytes
        if size > max_bytes:
            break
        plans.append(plan)
    return plans


@dataclass(frozen=True, eq=False)
class _Plan:
    """A layer: the tensors it reads and gives, how, and the size of its moment."""

    x: str
    y: str
    columns: Columns
    group: int
    Q: int
    bias: NDArray[np.float32]  # (C_out) or one for all

    @property
    def moment_bytes(self) -> int:
        return self.group * self.Q**2 * 8

    @classmethod
    def read(cls, model: Model, name: str) -> "_Plan":
        tensor = model.graph.tensors().get(name)
        node = tensor.inputs[0] if tensor is not None and tensor.inputs else None
        if node is None or not is_standard(node, "Conv", "Gemm", "MatMul"):
            raise ModelError(f"{model.source or 'the model'}: '{name}' is not the output of a Conv, Gemm or MatMul")
        plan = cls._conv(model, node) if node.op == "Conv" else cls._linear(model, node)
        if plan.moment_bytes > MAX_LAYER_BYTES:
            raise _refusal(node, f"it would take {plan.moment_bytes / 1e9:.1f} GB")
        return plan

    @classmethod
    def _conv(cls, model: Model, node: gs.Node) -> "_Plan":
        conv = Convolution.read(model, node)
        if isinstance(conv, str):
            raise _refusal(node, conv)
        columns = ConvColumns.of(conv.attributes, conv.weight.shape[2:])
        bias = conv.bias_or_zeros.astype(np.float32)
        return cls(*_names(node), columns, conv.group, prod(conv.weight.shape[1:]), bias)

    @classmethod
    def _linear(cls, model: Model, node: gs.Node) -> "_Plan":
        weight = model.constant(node.inputs[1])
        if weight is None:
            raise _refusal(node, why_unknown(model, node.inputs[1]))
        if weight.ndim != 2 or node.attrs.get("transA", 0):
            raise _refusal(node, "its weight is no matrix, or its input is transposed")
        Q = weight.shape[1] if node.attrs.get("transB", 0) else weight.shape[0]
        return cls(*_names(node), LinearColumns(), 1, Q, _addend(model, node))


class _Sums:
    """What is summed over columns, in double precision."""

    def __init__(self, plan: _Plan, seed: int, max_columns: int) -> None:
        self.plan = plan
        self.seed = seed
        self.max_columns = max_columns
        self.samples = 0
        self.count = 0
        self.xx = np.zeros((plan.group, plan.Q, plan.Q))
        self.x = np.zeros((plan.group, plan.Q))
        self.yx, self.y, self.yy = np.zeros(()), np.zeros(()), np.zeros(())  # of the outputs' shapes once there are any
        self._waiting: list[tuple[NDArray[np.float32], NDArray[np.float32] | None]] = []  # columns, their outputs
        # Fewer would take as long as these: the whole sum is gone over each time.
        self._enough = min(_CHUNK, 2 * plan.Q, _MOST // plan.Q)

    def add(self, x: NDArray[Any], y: NDArray[Any] | None) -> None:
        """Add the columns of a batch. Raises ModelError where `y` is the output of another input."""
        samples, places = self.plan.columns.places(x.shape)
        step = max(1, _CHUNK // max(1, min(places, self.max_columns)))
        for start in range(0, samples, step):
            stop = min(start + step, samples)
            chosen = choose(self.seed, self.samples + start, stop - start, places, self.max_columns)
            X = self.plan.columns.inputs(x[start:stop], chosen)
            Y = None if y is None else self.plan.columns.outputs(y[start:stop], chosen) - self.plan.bias
            if Y is not None and len(Y) != len(X):
                raise ModelError(f"'{self.plan.x}' has another shape in the model than in its reference")
            self._waiting.append((X, Y))
            if sum(len(columns) for columns, _ in self._waiting) >= self._enough:
                self.flush()
        self.samples += samples

    def flush(self) -> None:
        """Add what waits."""
        if not self._waiting:
            return
        inputs, outputs = zip(*self._waiting, strict=True)
        self._waiting = []
        X = _joined(inputs).swapaxes(0, 1)  # (group, columns, Q)
        self.count += X.shape[1]
        self.xx += X.swapaxes(1, 2) @ X
        self.x += X.sum(axis=1, dtype=np.float64)
        if outputs[0] is not None:
            self._add_outputs(_joined(outputs), X)

    def _add_outputs(self, Y: NDArray[np.float32], X: NDArray[np.float32]) -> None:
        self.y = self.y + Y.sum(axis=0, dtype=np.float64)
        self.yy = self.yy + np.square(Y, dtype=np.float64).sum(axis=0)
        self.yx = self.yx + Y.reshape(len(Y), self.plan.group, -1).transpose(1, 2, 0) @ X

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.xx).all())

    def means(self) -> Moments:
        """What the sums become. Raises DataError where they are not finite."""
        n = max(self.count, 1)
        self.xx /= n
        moment, mean = self.xx, self.x / n
        if not self.is_finite:
            raise DataError(f"the data makes the input of the layer that gives '{self.plan.y}' infinite or no number")
        if not self.yx.ndim:
            return Moments(moment, mean, self.count)
        y = self.y / n
        std = np.sqrt(np.maximum(self.yy / n - y**2, 0))
        return Moments(moment, mean, self.count, self.yx / n, y, std)


def _joined(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _lacking(inputs: Feed, outputs: Feed, shortcut: str, y: NDArray[Any]) -> NDArray[Any]:
    """What `shortcut` lacks in the compressed model; nothing where it is not of y's shape."""
    lacking: NDArray[Any] = outputs[shortcut] - inputs[shortcut]
    return lacking if lacking.shape == y.shape else np.zeros_like(y)


def _addend(model: Model, node: gs.Node) -> NDArray[np.float32]:
    """What a Gemm or MatMul adds to every row of its product."""
    if len(node.inputs) < 3 or node.inputs[2].is_empty():
        return np.zeros(1, np.float32)
    value = model.constant(node.inputs[2])
    if value is None:
        raise _refusal(node, f"bias: {why_unknown(model, node.inputs[2])}")
    if value.size != 1 and value.shape[-1] != value.size:
        raise _refusal(node, f"its bias {list(value.shape)} is not the same for every row")
    return np.asarray(value.reshape(-1) * node.attrs.get("beta", 1.0), np.float32)


def _names(node: gs.Node) -> tuple[str, str]:
    return node.inputs[0].name, node.outputs[0].name


def _refusal(node: gs.Node, reason: str) -> ModelError:
    return ModelError(f"the input of '{node.outputs[0].name}' has no second moment: {reason}")
