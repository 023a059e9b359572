"""What a tensor's value is, where that is known before anything runs.

Constants and Constant nodes have theirs; a short expression of them in the operators below is worked out node by node
with onnx's reference evaluator, each result's size being known before it is made.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import AttributeProto, TypeProto, helper
from onnx.reference import ReferenceEvaluator

from onnxcomp.model import topology
from onnxcomp.model.external import DataFolder
from onnxcomp.model.nodes import export_node
from onnxcomp.model.stored import Stored, StoredSparse
from onnxcomp.model.values import Values, current_values

Array = NDArray[Any]

_MAX_NODES = 100
_MAX_BYTES = 1 << 30
_MIN_ITEM_BYTES = 8  # the widest type an operator gives without having been given it


def constant_values(tensor: gs.Tensor, folder: DataFolder) -> Values | None:
    """The values of a constant or of a Constant node's output; None for any other tensor."""
    if isinstance(tensor, gs.Constant):
        return current_values(tensor)
    if len(tensor.inputs) != 1 or tensor.inputs[0].op != "Constant" or tensor.inputs[0].domain:
        return None
    attributes = tensor.inputs[0].attrs
    if len(attributes) != 1:
        return None
    [(name, value)] = attributes.items()
    match value:
        case gs.Constant():
            return current_values(value)
        case AttributeProto(type=AttributeProto.SPARSE_TENSOR):
            return StoredSparse(value.sparse_tensor, folder)
        case _ if name in _PLAIN_VALUES:
            scalar, dtype = _PLAIN_VALUES[name]
            items = value if isinstance(value, list) else [value]
            return np.array(value, dtype) if all(isinstance(item, scalar) for item in items) else None
        case _:
            return None


# The other attributes that say what a Constant node gives: Python's and NumPy's type of the elements.
_PLAIN_VALUES: MappingProxyType[str, tuple[type | tuple[type, ...], type]] = MappingProxyType(
    {
        **dict.fromkeys(("value_float", "value_floats"), (float, np.float32)),
        **dict.fromkeys(("value_int", "value_ints"), (int, np.int64)),
        **dict.fromkeys(("value_string", "value_strings"), ((str, bytes), object)),
    }
)


def evaluate(tensor: gs.Tensor, opset: int, folder: DataFolder) -> Array | None:
    """The value of `tensor`, read-only; None where it is not known or is not worked out (too long, over 1 GiB).

    Raises ModelError where stored values cannot be read.
    """
    values = constant_values(tensor, folder)
    if values is not None:
        return _loaded(values)
    results: dict[int, Array | None] = {}
    for node in _expression(tensor, folder):
        inputs: list[Array | None] = []
        for source in node.inputs:
            stored = None if id(source) in results else constant_values(source, folder)
            inputs.append(results.get(id(source)) if stored is None else _loaded(stored))
        result = _run(node, inputs, opset)
        if result is None:
            return None
        results[id(node.outputs[0])] = result
    return results.get(id(tensor))


def _loaded(values: Values) -> Array | None:
    if isinstance(values, StoredSparse) and values.nbytes > _MAX_BYTES:
        return None
    array = values.load() if isinstance(values, (Stored, StoredSparse)) else values.view()
    array.flags.writeable = False
    return array


def _expression(tensor: gs.Tensor, folder: DataFolder) -> list[gs.Node]:
    """The nodes that make `tensor` out of constants, in order; none where something else has a part in it."""
    nodes: dict[int, gs.Node] = {}
    waiting = [tensor]
    while waiting:
        source = waiting.pop()
        if source.is_empty() or constant_values(source, folder) is not None:
            continue
        if len(source.inputs) != 1 or len(nodes) > _MAX_NODES:
            return []
        node = source.inputs[0]
        if node.domain or node.op not in _RESULT_ELEMENTS or len(node.outputs) != 1:
            return []
        if id(node) not in nodes:
            nodes[id(node)] = node
            waiting.extend(node.inputs)
    return topology.in_order(
        nodes.values(), lambda node: [maker for t in node.inputs for maker in t.inputs if id(maker) in nodes]
    )


def _run(node: gs.Node, inputs: Sequence[Array | None], opset: int) -> Array | None:
    """The value of the node's output; None where an input is not known, the output too large or the node at fault."""
    present = [array for array in inputs if array is not None]
    if len(present) < sum(not tensor.is_empty() for tensor in node.inputs):
        return None
    bound = _RESULT_ELEMENTS[node.op]
    try:
        elements = bound(*present)
        if elements * max([_MIN_ITEM_BYTES, *(array.itemsize for array in present)]) > _MAX_BYTES:
            return None
        message = export_node(node)
        feeds = {name: array for name, array in zip(message.input, inputs, strict=True) if array is not None}
        ports = [helper.make_value_info(name, TypeProto()) for name in feeds]
        graph = helper.make_graph([message], "", ports, [helper.make_value_info(message.output[0], TypeProto())])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        results = ReferenceEvaluator(model).run(None, feeds)
        assert isinstance(results, list), "a graph gives a list"
        result = np.asarray(results[0])
    except _FAULTS:  # the operator refuses its inputs; so will the runtime, and say so better
        return None
    result.flags.writeable = False
    return result


_FAULTS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def _product(numbers: Iterable[Any]) -> int:
    return math.prod(int(number) for number in numbers)


def _broadcast(*inputs: Array) -> int:
    return math.prod(np.broadcast_shapes(*(array.shape for array in inputs)))


def _first(data: Array, *_: Array) -> int:
    return data.size


def _gather(data: Array, indices: Array) -> int:
    return data.size * indices.size  # over a known axis it is less


def _range(start: Array, limit: Array, delta: Array) -> int:
    return max(0, int(-((float(start) - float(limit)) // float(delta))))


# The operators that are worked out, and a bound on how many elements each makes of its inputs.
_RESULT_ELEMENTS: MappingProxyType[str, Callable[..., int]] = MappingProxyType(
    {
        **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Equal", "Where"), _broadcast),
        **dict.fromkeys(("Identity", "Cast", "Neg", "Abs", "Sqrt", "Exp", "Reciprocal", "Not"), _first),
        **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice"), _first),
        "Concat": lambda *inputs: sum(array.size for array in inputs),
        "ConstantOfShape": _product,
        "Expand": lambda data, shape: _product(np.broadcast_shapes(data.shape, tuple(shape))),
        "Gather": _gather,
        "Range": _range,
        "Shape": lambda data: data.ndim,
        "Size": lambda data: 1,
        "Tile": lambda data, repeats: data.size * _product(repeats),
    }
)
