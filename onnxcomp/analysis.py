"""The layers of a model as a list: what each holds, what it costs, and the totals of a file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.convolution import WEIGHTED, is_standard, label, macs
from onnxcomp.errors import ModelError
from onnxcomp.formats import basis_conv, codebook, sparse_conv, sparse_gemm, sparse_weight
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.model import Model
from onnxcomp.structure import codebook_of, structure_of


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
class _Numbers:
    """A constant of a file: its value, decoded, and how it is stored."""

    value: NDArray[Any]
    size_bytes: int
    codebook: str  # what is said of its codebook, "" where it has none

    @property
    def nonzero(self) -> int:
        return int(np.count_nonzero(self.value))

    def structure(self, of_zeros: str) -> str:
        """What is known of the zeros, and of the values."""
        return ", ".join(part for part in (of_zeros, self.codebook) if part)


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
    decoders = [node for node in model.graph.nodes if _is_codebook(node)]
    codebooks = {id(tensor) for node in decoders for tensor in node.inputs}
    constants = (t for t in model.graph.tensors().values() if isinstance(t, gs.Constant) and id(t) not in codebooks)
    for tensor in (*constants, *(node.outputs[0] for node in decoders)):
        numbers = _numbers(model, tensor)
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
    if not is_standard(node, *WEIGHTED) or len(node.inputs) < 2:
        return None
    tensor = node.inputs[1]
    if node.op == "MatMul" and model.constant(tensor) is None:
        tensor = node.inputs[0]
    decoder = tensor.inputs[0] if tensor.inputs else None
    if decoder is not None and decoder.domain == DOMAIN and decoder.op in (sparse_weight.OP, *codebook.BITS):
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
    mask, values = _stored(model, node, 1, 2)
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
    outputs, channels, count = _sizes(node, "coefficients_shape", 3)
    bases, mask, values = _stored(model, node, 1, 2, 3)
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


def _decoded(model: Model, node: gs.Node, decoder: gs.Node, shapes: Mapping[str, Sequence[int]]) -> Layer:
    if decoder.op == sparse_weight.OP:
        shape = _weight_shape(decoder)
        mask, values = _stored(model, decoder, 0, 1)
        size_bytes, structure = mask.size_bytes + values.size_bytes, values.structure("bitmap")
    else:
        values = _coded(model, decoder)
        shape, size_bytes, structure = values.value.shape, values.size_bytes, values.codebook
    done = macs(node, shapes, shape)
    return Layer(
        label(node),
        node.outputs[0].name,
        node.op,
        shape,
        done,
        values.value.size,
        values.nonzero,
        size_bytes,
        structure,
    )


def _stored(model: Model, node: gs.Node, *indices: int) -> list[_Numbers]:
    """The constants at these inputs. Raises ModelError where one is none."""
    found = [_numbers(model, tensor) for tensor in (node.inputs[i] for i in indices if i < len(node.inputs))]
    known = [numbers for numbers in found if numbers is not None]
    if len(known) < len(indices):
        raise ModelError(f"node '{label(node)}' ({node.op}) has weights that are no constants; the file is damaged")
    return known


def _numbers(model: Model, tensor: gs.Tensor) -> _Numbers | None:
    """What is known of `tensor`: a constant, or what a codebook's function decodes."""
    if tensor.inputs and _is_codebook(tensor.inputs[0]):
        return _coded(model, tensor.inputs[0])
    value = model.constant(tensor)
    return None if value is None else _Numbers(value, value.nbytes, "")


def _coded(model: Model, node: gs.Node) -> _Numbers:
    """What a codebook's function decodes. Raises ModelError where it cannot."""
    shape = _sizes(node, "shape")
    constants = [model.constant(tensor) for tensor in node.inputs]
    try:
        match constants:
            case [ids, values] if ids is not None and values is not None:
                stored = codebook.Coded(ids, values, node.op)
                return _Numbers(codebook.decode(stored, shape), stored.size_bytes, codebook_of(values.size))
            case _:
                raise ValueError("ids and codebook are no constants")
    except ValueError as error:
        raise ModelError(f"node '{label(node)}' ({node.op}): {error}; the file is damaged") from error


def _is_codebook(node: gs.Node) -> bool:
    return node.domain == DOMAIN and node.op in codebook.BITS


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
