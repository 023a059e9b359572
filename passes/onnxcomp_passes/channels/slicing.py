"""Nodes on fewer channels."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import NodeProto, helper

from onnxcomp.fragment import Fragment, to_proto, unique
from onnxcomp_passes.channels.flow import Edit


def sliced(before: Fragment, nodes: Sequence[gs.Node], edits: Mapping[int, Edit]) -> Fragment:
    """`before`, the fragment of `nodes`, with `edits` (by id of the node) made."""
    taken = {name for node in before.nodes for name in (*node.input, *node.output)}
    constants = dict(before.constants)
    protos = [_edited(node, edits.get(id(node), Edit()), constants, taken) for node in nodes]
    read = {name for proto in protos for name in proto.input}
    used = {name: value for name, value in constants.items() if name in read}
    return Fragment(tuple(protos), used, before.inputs, before.outputs)


def _edited(node: gs.Node, edit: Edit, constants: dict[str, NDArray[Any]], taken: set[str]) -> NodeProto:
    """`node` with `edit` made; its new constants are added to `constants`."""
    proto = to_proto(node)
    for index, value in edit.constants.items():
        while len(proto.input) <= index:
            proto.input.append("")
        name = unique(f"{proto.input[index] or proto.output[0] + '_bias'}_shrunk", taken)
        proto.input[index] = name
        constants[name] = value
    for name, value in edit.attributes.items():
        kept = [attribute for attribute in proto.attribute if attribute.name != name]
        del proto.attribute[:]
        proto.attribute.extend([*kept, helper.make_attribute(name, value)])
    return proto
