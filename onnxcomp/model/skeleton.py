"""Weights out of the way: what is left of a graph is small however large the model."""

from collections.abc import Iterator, Set

from onnx import AttributeProto, GraphProto, TensorProto, ValueInfoProto, helper

from onnxcomp.model import protos


def lift_from_bodies(graph: GraphProto, lift_from: int, taken: Set[str]) -> dict[str, ValueInfoProto]:
    """Take tensors from `lift_from` bytes on out of the bodies in `graph`; gives inputs to stand for them, by name.

    The bodies read those inputs as they would read any tensor from outside, under a name that is not in `taken`.
    """
    lifted: dict[str, ValueInfoProto] = {}
    for node in graph.node:
        for body in protos.bodies(node.attribute):
            _lift(body, lift_from, taken, lifted)
    return lifted


def _lift(body: GraphProto, lift_from: int, taken: Set[str], lifted: dict[str, ValueInfoProto]) -> None:
    for node in body.node:
        for inner in protos.bodies(node.attribute):
            _lift(inner, lift_from, taken, lifted)
    renames = {}
    for name, tensor in list(_large_tensors(body, lift_from)):
        unique, count = name, 0
        while unique in taken or unique in lifted:
            count += 1
            unique = f"{name}.{count}"
        renames[name] = unique
        lifted[unique] = helper.make_tensor_value_info(unique, tensor.data_type, tensor.dims)
    if renames:
        _remove(body, renames.keys())
        protos.rename_captured(body, renames)


def _large_tensors(body: GraphProto, lift_from: int) -> Iterator[tuple[str, TensorProto]]:
    own_inputs = {value.name for value in body.input}
    for tensor in body.initializer:
        if tensor.name not in own_inputs and _bytes(tensor) >= lift_from:
            yield tensor.name, tensor
    for node in body.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].type == AttributeProto.TENSOR:
            tensor = node.attribute[0].t
            if _bytes(tensor) >= lift_from:
                yield node.output[0], tensor


def _bytes(tensor: TensorProto) -> int:
    external = {entry.key: entry.value for entry in tensor.external_data}
    return int(tensor.ByteSize()) + int(external.get("length", "0"))


def _remove(body: GraphProto, names: Set[str]) -> None:
    """Remove the initializers and Constant nodes that make `names`."""
    initializers = [tensor for tensor in body.initializer if tensor.name not in names]
    nodes = [node for node in body.node if node.op_type != "Constant" or node.output[0] not in names]
    body.ClearField("initializer")
    body.initializer.extend(initializers)
    body.ClearField("node")
    body.node.extend(nodes)
