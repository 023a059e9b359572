"""One node of a rewritten graph to its NodeProto, keeping all that was not touched of the message it came from."""

from collections.abc import Mapping
from typing import Any

import onnx_graphsurgeon as gs
from onnx import AttributeProto, NodeProto

from onnxcomp.errors import PassError
from onnxcomp.model import attributes, protos
from onnxcomp.model.importer import DEFAULT_DOMAINS, label


def export_node(node: gs.Node) -> NodeProto:
    """The message of `node`: the very one it was imported from where nothing was changed, else a new one.

    Raises PassError where the node holds what cannot be stored.
    """
    names = attributes.captured(node)
    own = len(node.inputs) - len(names)
    if own < 0:
        raise PassError(f"node {label(node)} lost an input that its subgraph reads")
    inputs = [tensor.name for tensor in node.inputs[:own]]
    outputs = [tensor.name for tensor in node.outputs]
    renames = {old: new.name for old, new in zip(names, node.inputs[own:], strict=True) if old != new.name}

    origin: NodeProto = node.origin if hasattr(node, "origin") else NodeProto()
    originals = {attribute.name: attribute for attribute in origin.attribute}
    same_attributes = list(node.attrs) == list(originals) and all(
        attributes.is_unchanged(value, originals[name]) for name, value in node.attrs.items()
    )
    result = NodeProto()
    result.CopyFrom(origin)
    _set_plain(result, node, inputs, outputs)
    if not same_attributes:
        result.ClearField("attribute")
        result.attribute.extend(_export_attributes(node, originals))
    if renames:
        for body in protos.bodies(result.attribute):
            protos.rename_captured(body, renames)
    return result


def _set_plain(result: NodeProto, node: gs.Node, inputs: list[str], outputs: list[str]) -> None:
    """Bring the fields other than attributes up to date, without touching those that are."""
    if result.op_type != node.op:
        result.op_type = node.op
        result.ClearField("overload")
    if result.name != (node.name or ""):
        result.name = node.name or ""
    domain = node.domain or ""
    if domain != result.domain and not (domain in DEFAULT_DOMAINS and result.domain in DEFAULT_DOMAINS):
        result.domain = domain
    if list(result.input) != inputs:
        result.input[:] = inputs
    if list(result.output) != outputs:
        result.output[:] = outputs


def _export_attributes(node: gs.Node, originals: Mapping[str, AttributeProto]) -> list[AttributeProto]:
    return [_export_attribute(node, name, value, originals.get(name)) for name, value in node.attrs.items()]


def _export_attribute(node: gs.Node, name: str, value: Any, original: AttributeProto | None) -> AttributeProto:
    if original is not None and attributes.is_unchanged(value, original):
        return original
    result = attributes.export_attribute(name, value, node.op)
    if original is not None and original.doc_string and not result.doc_string:
        result.doc_string = original.doc_string
    return result
