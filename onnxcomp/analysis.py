"""The layers of a model as a list: what each holds, what it costs, and the totals of a file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from onnxcomp.convolution import WEIGHTED, is_standard, label, macs
from onnxcomp.errors import ModelError
from onnxcomp.formats import basis_conv, sparse_conv, sparse_gemm, sparse_weight
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.model import Model
from onnxcomp.structure import structure_of


@dataclass(frozen=True)
class Layer:
    """A node with weights."""

    name: str
    key: str  # its first output tensor, unique in the model
    op: str
    shape: tuple[int, ...]  # of the weight, decoded
    macs: int | None  # multiply-adds it does; None where a shape is unknown
    parameters: int  # numbers stored
    nonzero: int
    size_bytes: int  # of the weight as stored
    structure: str

    @property
    def elements(self) -> int:
        """Numbers in the decoded weight, zeros included."""
        return prod(self.shape)


@dataclass(frozen=True)
class Totals:
    """A file in numbers."""

    size_bytes: int
    parameters: int
    nonzero: int
    macs: int
    opset: int
    ir: int


def layers_of(model: Model, shapes: Mapping[str, Sequence[int]]) -> list[Layer]:
    """Every layer with a constant weight, in graph order. `shapes` are concrete tensor shapes by name."""
    return [layer for node in model.graph.nodes if (layer := _layer(model, node, shapes)) is not None]


def totals_of(model: Model, layers: Iterable[Layer]) -> Totals:
    """Totals: parameters are all floating-point numbers stored, layers or not."""
    parameters = nonzero = 0
    for tensor in model.graph.tensors().values():
        if not isinstance(tensor, gs.Constant):
            continue
        value = model.constant(tensor)
        if value is not None and np.issubdtype(value.dtype, np.floating):
            parameters += value.size
            nonzero += int(np.count_nonzero(value))
    done = sum(layer.macs or 0 for layer in layers)
    return Totals(model.size_bytes(), parameters, nonzero, done, model.opset, model.ir_version)


def _layer(model: Model, node: gs.Node, shapes: Mapping[str, Sequence[int]]) -> Layer | None:
    if node.domain == DOMAIN and (node.op in sparse_conv.EPILOGUES or node.op in sparse_gemm.FORMS):
        return _sparse(model, node, shapes)
    if node.domain == DOMAIN and node.op in basis_conv.EPILOGUES:
        return _basis(model, node, shapes)
    if not is_standard(node, *WEIGHTED) or len(node.inputs) < 2:
        return None
    tensor = node.inputs[1]
    if node.op == "MatMul" and model.constant(tensor) is None:
        tensor = node.inputs[0]
    decoder = tensor.inputs[0] if tensor.inputs else None
    if decoder is not None and decoder.domain == DOMAIN and decoder.op == sparse_weight.OP:
        return _decoded(model, node, decoder, shapes)
    value = model.constant(tensor)
    if value is None:
        return None
    found = structure_of(_outputs_first(node, value))
    return Layer(
        label(node),
        node.outputs[0].name,
        node.op,
        value.shape,
        macs(node, shapes, value.shape),
        value.size,
        found.nonzero,
        model.stored_bytes(tensor) or 0,
        str(found),
    )


def _sparse(model: Model, node: gs.Node, shapes: Mapping[str, Sequence[int]]) -> Layer:
    shape = _weight_shape(node)
    stored = [model.constant(tensor) for tensor in node.inputs[1:3]]
    nonzero = stored[1].size if stored[1] is not None else 0
    output = shapes.get(node.outputs[0].name)
    done = None
    if output is not None:  # for every position, the axis of output channels aside
        done = prod(output[:-1] if node.op in sparse_gemm.FORMS else (*output[:1], *output[2:])) * nonzero
    size_bytes = sum(value.nbytes for value in stored if value is not None)
    return Layer(
        label(node),
        node.outputs[0].name,
        node.op,
        shape,
        done,
        nonzero,
        nonzero,
        size_bytes,
        str(node.attrs.get("structure", "")),
    )


def _basis(model: Model, node: gs.Node, shapes: Mapping[str, Sequence[int]]) -> Layer:
    outputs, channels, count = _sizes(node, "coefficients_shape", 3)
    weights = [value for tensor in node.inputs[1:4] if (value := model.constant(tensor)) is not None]
    if len(weights) != 3:
        raise ModelError(f"node '{label(node)}' ({node.op}) has weights that are no constants; the file is damaged")
    bases, mask, values = weights
    x, y = (shapes.get(tensor.name) for tensor in (node.inputs[0], node.outputs[0]))
    nonzero = bases.size + values.size
    return Layer(
        label(node),
        node.outputs[0].name,
        node.op,
        (outputs, channels, *bases.shape[1:]),
        None if x is None or y is None else y[0] * prod(y[2:]) * (x[1] * bases.size + values.size),
        nonzero,
        nonzero,
        bases.nbytes + mask.nbytes + values.nbytes,
        f"{count} bases",
    )


def _decoded(model: Model, node: gs.Node, decoder: gs.Node, shapes: Mapping[str, Sequence[int]]) -> Layer:
    shape = _weight_shape(decoder)
    stored = [model.constant(tensor) for tensor in decoder.inputs]
    nonzero = stored[1].size if stored[1] is not None else 0
    size_bytes = sum(value.nbytes for value in stored if value is not None)
    done = macs(node, shapes, shape)
    return Layer(label(node), node.outputs[0].name, node.op, shape, done, nonzero, nonzero, size_bytes, "bitmap")


def _weight_shape(node: gs.Node) -> tuple[int, ...]:
    return _sizes(node, "weight_shape")


def _sizes(node: gs.Node, name: str, count: int | None = None) -> tuple[int, ...]:
    """The attribute `name`. Raises ModelError where it is no list of sizes, or not of `count`."""
    sizes = node.attrs.get(name)
    if (
        not isinstance(sizes, list | tuple)
        or not all(isinstance(size, int) for size in sizes)
        or (count is not None and len(sizes) != count)
    ):
        raise ModelError(f"node '{label(node)}' ({node.op}) has no list of sizes '{name}'; the file is damaged")
    return tuple(sizes)


def _outputs_first(node: gs.Node, value: np.ndarray) -> np.ndarray:
    """The weight with output channels along its first axis."""
    if node.op == "MatMul" or (node.op == "Gemm" and not node.attrs.get("transB", 0)):
        return np.swapaxes(value, -1, 0) if value.ndim > 1 else value.reshape(-1, 1)
    return value
