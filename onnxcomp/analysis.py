"""The layers of a model as a list: what each holds, what it costs, and the totals of a file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from onnxcomp.convolution import WEIGHTED, is_standard, label, macs
from onnxcomp.decoding import coded_numbers, is_codebook, numbers_of, sizes_of, stored_numbers, unified_numbers
from onnxcomp.formats import (
    basis_conv,
    sparse_conv,
    sparse_gemm,
    sparse_weight,
    unified_conv,
    unified_gemm,
    unified_weight,
)
from onnxcomp.formats.find_unified import find
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.formats.unified import Unified
from onnxcomp.model import Model
from onnxcomp.structure import structure_of

_DECODERS = (sparse_weight.OP, unified_weight.OP)


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

    @property
    def zeros(self) -> float:
        """Their share."""
        return 1 - self.nonzero / self.elements if self.elements else 0.0


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
    """Totals: parameters are all floating-point numbers stored, as they are or as ids, in layers or not."""
    parameters = nonzero = 0
    decoders = [node for node in model.graph.nodes if is_codebook(node)]
    codebooks = {id(tensor) for node in decoders for tensor in node.inputs}
    constants = (t for t in model.graph.tensors().values() if isinstance(t, gs.Constant) and id(t) not in codebooks)
    for tensor in (*constants, *(node.outputs[0] for node in decoders)):
        numbers = numbers_of(model, tensor)
        if numbers is not None and np.issubdtype(numbers.value.dtype, np.floating):
            parameters += numbers.value.size
            nonzero += numbers.nonzero
    done = sum(layer.macs or 0 for layer in layers)
    return Totals(model.size_bytes(), parameters, nonzero, done, model.opset, model.ir_version)


def _layer(model: Model, node: gs.Node, shapes: Mapping[str, Sequence[int]]) -> Layer | None:
    if node.domain == DOMAIN and (node.op in sparse_conv.EPILOGUES or node.op in sparse_gemm.FORMS):
        return _sparse(model, node, shapes)
    if node.domain == DOMAIN and node.op in basis_conv.EPILOGUES:
        return _basis(model, node, shapes)
    if node.domain == DOMAIN and (node.op in unified_conv.EPILOGUES or node.op in unified_gemm.FORMS):
        return _unified(model, node, shapes)
    if not is_standard(node, *WEIGHTED) or len(node.inputs) < 2:
        return None
    tensor = node.inputs[1]
    if node.op == "MatMul" and _decoder(tensor) is None and model.constant(tensor) is None:
        tensor = node.inputs[0]
    decoder = _decoder(tensor)
    if decoder is not None:
        return _decoded(model, node, decoder, shapes)
    value = model.constant(tensor)
    if value is None:
        return None
    outputs_first = _outputs_first(node, value)
    found, blocks = structure_of(outputs_first), _found(outputs_first)
    return Layer(
        label(node),
        node.outputs[0].name,
        node.op,
        value.shape,
        macs(node, shapes, value.shape),
        value.size,
        found.nonzero,
        model.stored_bytes(tensor) or 0,
        f"{found}, {blocks}" if blocks else str(found),
    )


def _sparse(model: Model, node: gs.Node, shapes: Mapping[str, Sequence[int]]) -> Layer:
    shape = _weight_shape(node)
    mask, values = stored_numbers(model, node, 1, 2)
    nonzero = values.value.size
    output = shapes.get(node.outputs[0].name)
    done = None
    if output is not None:  # for every position, the axis of output channels aside
        done = prod(output[:-1] if node.op in sparse_gemm.FORMS else (*output[:1], *output[2:])) * nonzero
    return Layer(
        label(node),
        node.outputs[0].name,
        node.op,
        shape,
        done,
        nonzero,
        nonzero,
        mask.size_bytes + values.size_bytes,
        values.structure(str(node.attrs.get("structure", ""))),
    )


def _basis(model: Model, node: gs.Node, shapes: Mapping[str, Sequence[int]]) -> Layer:
    outputs, channels, count = sizes_of(node, "coefficients_shape", 3)
    bases, mask, values = stored_numbers(model, node, 1, 2, 3)
    x, y = (shapes.get(tensor.name) for tensor in (node.inputs[0], node.outputs[0]))
    nonzero = bases.value.size + values.value.size
    return Layer(
        label(node),
        node.outputs[0].name,
        node.op,
        (outputs, channels, *bases.value.shape[1:]),
        None if x is None or y is None else y[0] * prod(y[2:]) * (x[1] * bases.value.size + values.value.size),
        nonzero,
        nonzero,
        bases.size_bytes + mask.size_bytes + values.size_bytes,
        values.structure(f"{count} bases"),
    )


def _unified(model: Model, node: gs.Node, shapes: Mapping[str, Sequence[int]]) -> Layer:
    stored, weight = unified_numbers(model, node, 1)
    live = stored.scales.size * prod(stored.block) + stored.values.size
    output = shapes.get(node.outputs[0].name)
    done = None
    if output is not None:  # for every position, the axis of output channels aside
        done = prod(output[:-1] if node.op in unified_gemm.FORMS else (*output[:1], *output[2:])) * live
    return Layer(
        label(node),
        node.outputs[0].name,
        node.op,
        weight.value.shape,
        done,
        stored.scales.size + stored.values.size,
        weight.nonzero,
        weight.size_bytes,
        _blocks(stored),
    )


def _found(weight: np.ndarray) -> str:
    """The blocks of one magnitude that a weight (C_out, C_in / group, k...) has, in words."""
    stored = find(weight) if weight.dtype == np.float32 and weight.ndim > 1 else None
    return _blocks(stored) if stored else ""


def _blocks(stored: Unified) -> str:
    """What is said of a weight in blocks of one magnitude."""
    levels = ", ".join(f"{level:g}" for level in stored.levels)
    return f"unified {stored.block[0]}x{stored.block[1]} blocks" + (f" at {levels}" if len(stored.levels) > 1 else "")


def _decoder(tensor: gs.Tensor) -> gs.Node | None:
    """The function that decodes `tensor`, where one does."""
    node = tensor.inputs[0] if tensor.inputs else None
    if node is None or not (is_codebook(node) or (node.domain == DOMAIN and node.op in _DECODERS)):
        return None
    return node


def _decoded(model: Model, node: gs.Node, decoder: gs.Node, shapes: Mapping[str, Sequence[int]]) -> Layer:
    if is_codebook(decoder):
        values = coded_numbers(model, decoder)
        shape, size_bytes, structure = values.value.shape, values.size_bytes, values.structure()
    elif decoder.op == unified_weight.OP:
        stored, values = unified_numbers(model, decoder, 0)
        shape, size_bytes, structure = values.value.shape, values.size_bytes, _blocks(stored)
    else:
        shape = _weight_shape(decoder)
        mask, values = stored_numbers(model, decoder, 0, 1)
        size_bytes, structure = mask.size_bytes + values.size_bytes, values.structure("bitmap")
    return Layer(
        label(node),
        node.outputs[0].name,
        node.op,
        shape,
        macs(node, shapes, shape),
        values.value.size,
        values.nonzero,
        size_bytes,
        structure,
    )


def _weight_shape(node: gs.Node) -> tuple[int, ...]:
    return sizes_of(node, "weight_shape")


def _outputs_first(node: gs.Node, value: np.ndarray) -> np.ndarray:
    """The weight with output channels along its first axis."""
    if node.op == "MatMul" or (node.op == "Gemm" and not node.attrs.get("transB", 0)):
        return np.swapaxes(value, -1, 0) if value.ndim > 1 else value.reshape(-1, 1)
    return value
