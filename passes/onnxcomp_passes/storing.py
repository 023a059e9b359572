"""What the passes that store constants smaller share: which constants, and the decoding put before what reads them.

The nodes that read a constant stay as they are; they read what functions in standard operators decode, which every
runtime folds when the session loads. Declines what is shared with a caller (an overridable initializer), what a body
captures, and what would shrink by less than `min_saving`.
"""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import NodeProto, helper
from pydantic import Field

from onnxcomp.context import Context
from onnxcomp.convolution import WEIGHTED, is_standard, label
from onnxcomp.formats.functions import DOMAIN, MIN_OPSET
from onnxcomp.fragment import Fragment, unique
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Declined, Pass, PassOptions, Site

_SMALL_BYTES = 1024  # below this a function call costs more than it saves


class StoringOptions(PassOptions):
    """Options of codebook and sparse-weight."""

    min_saving: float = Field(0.1, gt=0, lt=1, description="share of the weight's bytes that must be saved")


@dataclass(frozen=True, eq=False)
class ConstantSite(Site):
    """The nodes that read one constant."""

    tensor: gs.Tensor


class StoringPass(Pass):
    """A pass that stores constants in another form."""

    Options = StoringOptions
    min_opset = MIN_OPSET
    options: StoringOptions

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every node with such a constant; nodes that share one are one site."""
        readers: dict[int, tuple[gs.Tensor, dict[int, gs.Node]]] = {}
        for node in graph.graph.nodes:
            for tensor in self.constants(graph, node):
                if isinstance(tensor, gs.Constant):
                    readers.setdefault(id(tensor), (tensor, {}))[1][id(node)] = node
                else:
                    yield Declined(label(node), _why_computed(tensor))
        for tensor, nodes in readers.values():
            reason = self._why_not(graph, tensor)
            if reason:
                yield from (Declined(label(node), reason) for node in nodes.values())
            else:
                yield ConstantSite(tuple(nodes.values()), tensor)

    def constants(self, graph: Model, node: gs.Node) -> list[gs.Tensor]:
        """What the pass would store of `node`: by default the weight of a layer that the standard has."""
        return [_weight(node)] if is_standard(node, *WEIGHTED) else []

    @abstractmethod
    def why_not_stored(self, value: NDArray[Any]) -> str | None:
        """Why the form does not suit a constant of this value, or None."""

    @abstractmethod
    def stored(self, value: NDArray[Any], name: str, opset: int) -> Candidate:
        """The constant `name` stored, `after` being the nodes that decode it; without a `before`."""

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The constant as it would be stored."""
        assert isinstance(site, ConstantSite)
        value = context.model.constant(site.tensor)
        assert value is not None
        yield self.stored(value, site.tensor.name, max(context.model.opset, MIN_OPSET))

    def candidate(self, value: NDArray[Any], name: str, after: Fragment, **options: Any) -> Candidate:
        """`after`, which has no input and whose output is the constant `name`, in the place of `value`."""
        identity = helper.make_node("Identity", [name], list(after.outputs))
        before = Fragment((identity,), {name: value}, (), after.outputs)
        return Candidate(self.name, after, before, options, size_bytes=(value.nbytes, after.size_bytes))

    def is_worth(self, stored_bytes: int, value: NDArray[Any]) -> bool:
        """Whether `stored_bytes` save enough of `value`'s."""
        return stored_bytes <= (1 - self.options.min_saving) * value.nbytes

    def apply(self, graph: Model, site: Site, candidate: Candidate) -> None:
        """Put the decoding before the first reader; every reader of the constant reads what it gives."""
        assert isinstance(site, ConstantSite) and candidate.after is not None
        after, taken = candidate.after, set(graph.graph.tensors())
        tensors = {name: gs.Constant(unique(name, taken), value) for name, value in after.constants.items()}
        tensors |= {name: gs.Variable(unique(name, taken)) for node in after.nodes for name in node.output}
        where = next(i for i, node in enumerate(graph.graph.nodes) if node is site.nodes[0])
        graph.graph.nodes[where:where] = [_with_tensors(node, tensors) for node in after.nodes]
        (output,) = after.outputs
        for reader in list(site.tensor.outputs):
            for i, read in enumerate(reader.inputs):
                if read is site.tensor:
                    reader.inputs[i] = tensors[output]
        for function in after.functions:
            graph.add_function(function)

    def _why_not(self, graph: Model, tensor: gs.Tensor) -> str | None:
        size_bytes = graph.stored_bytes(tensor)
        if size_bytes is None:
            return f"'{tensor.name}' is not stored in the file"
        if size_bytes < _SMALL_BYTES:
            return f"'{tensor.name}' is small ({size_bytes} bytes)"
        if graph.is_captured(tensor):
            return f"'{tensor.name}' is read inside an If, Loop or Scan body"
        if graph.is_interface(tensor):
            return f"'{tensor.name}' is a graph input or output"
        value = graph.constant(tensor)
        if value is None or value.dtype not in (np.float16, np.float32, np.float64):
            return f"'{tensor.name}' is not a floating-point constant"
        return self.why_not_stored(value)


def _why_computed(tensor: gs.Tensor) -> str:
    if tensor.inputs and tensor.inputs[0].domain == DOMAIN:
        return f"its weight is decoded by {tensor.inputs[0].op} already"
    return "its weight is not an initializer"


def _with_tensors(proto: NodeProto, tensors: dict[str, gs.Tensor]) -> gs.Node:
    attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
    inputs, outputs = ([tensors[name] for name in names] for names in (proto.input, proto.output))
    return gs.Node(proto.op_type, "", attributes, inputs, outputs, domain=proto.domain)


def _weight(node: gs.Node) -> gs.Tensor:
    """The layer's weight: its second input, or MatMul's first where that is the constant."""
    candidates = node.inputs[1:2] + (node.inputs[:1] if node.op == "MatMul" else [])
    return next((tensor for tensor in candidates if isinstance(tensor, gs.Constant)), candidates[0])
