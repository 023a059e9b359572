"""What a file's constants hold, whether they stand there as they are or as ids into a codebook."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.convolution import label
from onnxcomp.errors import ModelError
from onnxcomp.formats import codebook, unified
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.formats.unified import Unified
from onnxcomp.model import Model
from onnxcomp.structure import codebook_of


@dataclass(frozen=True)
class Numbers:
    """A constant of a file: its value, decoded, and how it is stored."""

    value: NDArray[Any]
    size_bytes: int
    codebook: str  # what is said of its codebook, "" where it has none

    @property
    def nonzero(self) -> int:
        """Elements that are not zero."""
        return int(np.count_nonzero(self.value))

    def structure(self, of_zeros: str = "") -> str:
        """What is known of the zeros, and of the values."""
        return ", ".join(part for part in (of_zeros, self.codebook) if part)


def stored_numbers(model: Model, node: gs.Node, *indices: int) -> list[Numbers]:
    """The constants at these inputs. Raises ModelError where one is none."""
    found = [numbers_of(model, tensor) for tensor in (node.inputs[i] for i in indices if i < len(node.inputs))]
    known = [numbers for numbers in found if numbers is not None]
    if len(known) < len(indices):
        raise ModelError(f"node '{label(node)}' ({node.op}) has weights that are no constants; the file is damaged")
    return known


def numbers_of(model: Model, tensor: gs.Tensor) -> Numbers | None:
    """What is known of `tensor`: a constant, or what a codebook's function decodes."""
    if tensor.inputs and is_codebook(tensor.inputs[0]):
        return coded_numbers(model, tensor.inputs[0])
    value = model.constant(tensor)
    return None if value is None else Numbers(value, value.nbytes, "")


def coded_numbers(model: Model, node: gs.Node) -> Numbers:
    """What a codebook's function decodes. Raises ModelError where it cannot."""
    shape = sizes_of(node, "shape")
    constants = [model.constant(tensor) for tensor in node.inputs]
    try:
        match constants:
            case [ids, values] if ids is not None and values is not None:
                stored = codebook.Coded(ids, values, node.op)
                return Numbers(codebook.decode(stored, shape), stored.size_bytes, codebook_of(values.size))
            case _:
                raise ValueError("ids and codebook are no constants")
    except ValueError as error:
        raise ModelError(f"node '{label(node)}' ({node.op}): {error}; the file is damaged") from error


def unified_numbers(model: Model, node: gs.Node, first: int) -> tuple[Unified, Numbers]:
    """A weight in the unified format at inputs `first` and on, and it decoded. Raises ModelError where it cannot be."""
    parts = stored_numbers(model, node, *range(first, first + 4))
    block, shape = sizes_of(node, "block", 2), sizes_of(node, "weight_shape")
    levels = node.attrs.get("levels")
    try:
        if not isinstance(levels, list | tuple) or not all(isinstance(level, float) for level in levels):
            raise ValueError("it has no list of numbers 'levels'")
        magnitudes = tuple(level for level in levels if level >= 0)
        kinds, scales, digits, values = (part.value for part in parts)
        stored = Unified((block[0], block[1]), magnitudes, kinds, scales, digits, values)
        weight = unified.decode(stored, shape)
    except ValueError as error:
        raise ModelError(f"node '{label(node)}' ({node.op}): {error}; the file is damaged") from error
    return stored, Numbers(weight, sum(part.size_bytes for part in parts), "")


def is_codebook(node: gs.Node) -> bool:
    """Whether `node` decodes ids into a codebook."""
    return node.domain == DOMAIN and node.op in codebook.BITS


def sizes_of(node: gs.Node, name: str, count: int | None = None) -> tuple[int, ...]:
    """The attribute `name`. Raises ModelError where it is no list of sizes, or not of `count`."""
    sizes = node.attrs.get(name)
    if (
        not isinstance(sizes, list | tuple)
        or not all(isinstance(size, int) for size in sizes)
        or (count is not None and len(sizes) != count)
    ):
        raise ModelError(f"node '{label(node)}' ({node.op}) has no list of sizes '{name}'; the file is damaged")
    return tuple(sizes)
