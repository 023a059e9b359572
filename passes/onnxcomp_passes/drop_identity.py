"""drop-identity: remove nodes that pass their input through.

    x -> Identity -> y        becomes        x (every reader of y reads x)

Acts on Identity, Dropout at inference, Cast to the type the tensor has, Transpose by the identity permutation, Pad by
zeros, and Concat, Sum, Max, Min or Mean of one input. A graph output keeps its name: its producer takes it over.
Declines where nothing could: between a graph input (or a constant) and a graph output, and where an If, Loop or Scan
body captures y. Exact: the values are the same bits.
"""

from collections.abc import Iterable

import numpy as np
import onnx_graphsurgeon as gs
from onnx import helper

from onnxcomp.context import Context
from onnxcomp.convolution import is_standard
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Declined, Pass, Site
from onnxcomp_passes.dropout import is_inference

_OF_ONE_INPUT = ("Concat", "Sum", "Max", "Min", "Mean")


class DropIdentity(Pass):
    """Remove Identity, inference Dropout and other nodes that change nothing."""

    name = "drop-identity"
    summary = "remove Identity, inference Dropout and other nodes that change nothing"

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every node that passes its first input through."""
        renamed: set[str] = set()  # tensors whose producer takes over a graph output's name
        for node in list(graph.graph.nodes):
            if not _passes_through(graph, node):
                continue
            site = Site((node,))
            reason = _why_not(graph, node, renamed)
            yield Declined(site.name, reason) if reason else site

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """Its removal."""
        yield Candidate("removed")

    def apply(self, graph: Model, site: Site, candidate: Candidate) -> None:
        """Connect the node's readers to its input, or its producer to the graph output."""
        (node,) = site.nodes
        source, target = node.inputs[0], node.outputs[0]
        node.inputs.clear()
        node.outputs.clear()
        if graph.is_interface(target):
            _redirect(source, target)
            producer = source.inputs[0]
            producer.outputs[_index(producer.outputs, source)] = target
        else:
            _redirect(target, source)


def _redirect(old: gs.Tensor, new: gs.Tensor) -> None:
    for reader in list(old.outputs):
        for i, tensor in enumerate(reader.inputs):
            if tensor is old:
                reader.inputs[i] = new


def _index(tensors: list[gs.Tensor], wanted: gs.Tensor) -> int:
    return next(i for i, tensor in enumerate(tensors) if tensor is wanted)


def _why_not(graph: Model, node: gs.Node, renamed: set[str]) -> str | None:
    """Why the node must stay, or None."""
    source, target = _origin(graph, node), node.outputs[0]
    if graph.is_captured(target):
        return f"'{target.name}' is read inside an If, Loop or Scan body"
    if not graph.is_interface(target):
        return None
    if graph.is_interface(source) or not source.inputs or source.name in renamed:
        return f"connects '{source.name}' to the graph output '{target.name}'"
    if graph.is_captured(source):
        return f"'{source.name}' is read inside an If, Loop or Scan body"
    renamed.add(source.name)
    return None


def _origin(graph: Model, node: gs.Node) -> gs.Tensor:
    """The tensor `node` passes on, past the nodes before it that will be dropped too."""
    source = node.inputs[0]
    while source.inputs and _passes_through(graph, source.inputs[0]) and not graph.is_interface(source):
        source = source.inputs[0].inputs[0]
    return source


def _passes_through(graph: Model, node: gs.Node) -> bool:
    if not node.inputs or node.inputs[0].is_empty() or len(node.outputs) < 1:
        return False
    if is_standard(node, "Identity"):
        return True
    if is_standard(node, "Dropout"):
        return is_inference(graph, node)
    if is_standard(node, "Cast"):
        dtype = node.inputs[0].dtype
        return dtype is not None and _onnx_type(dtype) == node.attrs.get("to")
    if is_standard(node, "Transpose"):
        order = node.attrs.get("perm")
        return order is not None and list(order) == list(range(len(order)))
    if is_standard(node, "Pad"):
        return _pads_nothing(graph, node)
    return is_standard(node, *_OF_ONE_INPUT) and len(node.inputs) == 1


def _onnx_type(dtype: object) -> int | None:
    try:
        return dtype if isinstance(dtype, int) else int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))  # type: ignore[call-overload]
    except (KeyError, TypeError, ValueError):
        return None


def _pads_nothing(graph: Model, node: gs.Node) -> bool:
    if "pads" in node.attrs:  # opset 10 and older
        return not np.any(node.attrs["pads"])
    pads = graph.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    return pads is not None and not pads.any()
