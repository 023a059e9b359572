"""Fragments that are alike to a clock: the same operators on the same shapes, with as many zeros."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from onnxcomp.formats.functions import DOMAIN
from onnxcomp.fragment import Fragment, Shapes


def work_of(fragment: Fragment, shapes: Shapes, dtypes: Mapping[str, int]) -> str:
    """A digest that is the same for fragments which take the same time: neither names nor weights' values count.

    Networks repeat their layers, so that what was measured at one serves the others.
    """
    numbers: dict[str, int] = {"": 0}
    digest = hashlib.sha256()

    def number(name: str) -> str:
        return str(numbers.setdefault(name, len(numbers)))

    for name in fragment.inputs:
        digest.update(repr((number(name), shapes.get(name), dtypes.get(name))).encode())
    sparse = {name for node in fragment.nodes if node.domain == DOMAIN for name in node.input}
    for name, value in fragment.constants.items():
        zeros = name in sparse
        digest.update(repr((number(name), value.shape, value.dtype.str, *_effort(value, zeros=zeros))).encode())
    for one in fragment.nodes:
        node = NodeProto()
        node.CopyFrom(one)
        node.name = ""
        node.input[:] = map(number, one.input)
        node.output[:] = map(number, one.output)
        digest.update(node.SerializeToString(deterministic=True))
    for function in fragment.functions:
        digest.update(function.SerializeToString(deterministic=True))
    return digest.hexdigest()


def _effort(value: NDArray[Any], *, zeros: bool) -> tuple[Any, ...]:
    """What of a constant decides the time: `zeros` where its operator knows them; of shapes and indices the values.

    Of a bitmap also whether the bits lie as by chance or in blocks. Bytes in rows are codes, each as quick as another.
    """
    if value.dtype == np.uint8 and zeros:
        return _bits(value) if value.ndim == 1 else ()
    if np.issubdtype(value.dtype, np.floating):
        return (int(np.count_nonzero(value)),) if zeros else ()
    return (value.tobytes(),)


def _bits(bitmap: NDArray[np.uint8]) -> tuple[int, bool]:
    """How many are set, and whether in at least half as many bytes as by chance."""
    count = int(np.unpackbits(bitmap).sum())
    by_chance = 1 - (1 - count / max(8 * bitmap.size, 1)) ** 8
    return count, bool(np.count_nonzero(bitmap) >= by_chance * bitmap.size / 2)
