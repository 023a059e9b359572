"""sparse-weight: store a weight that is mostly zeros as a bitmap; the layer itself stays as it is.

    W (initializer) -> Conv, ConvTranspose, Gemm, MatMul   becomes   SparseWeight(mask, values) -> W -> the same node

SparseWeight is a function in standard operators that every runtime folds when the session loads
(onnxcomp/formats/sparse_weight.py), so the running time is the dense layer's and the file is smaller. Exact to the bit,
but for the sign of zeros. Declines what is shared with a caller (an overridable initializer), what a body captures, and
what would shrink by less than `min_saving`.
"""

from collections.abc import Iterable

import numpy as np
import onnx_graphsurgeon as gs
from onnx import helper
from pydantic import Field

from onnxcomp.context import Context
from onnxcomp.convolution import WEIGHTED, is_standard, label
from onnxcomp.formats import bitmap, sparse_weight
from onnxcomp.formats.functions import DOMAIN, MIN_OPSET
from onnxcomp.fragment import Fragment, unique
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Declined, Pass, PassOptions, Site

_SMALL_BYTES = 1024  # below this a function call costs more than it saves


class SparseWeightOptions(PassOptions):
    """Options of sparse-weight."""

    min_saving: float = Field(0.1, gt=0, lt=1, description="share of the weight's bytes that must be saved")


class SparseWeight(Pass):
    """Store weights that are mostly zeros as bitmaps."""

    name = "sparse-weight"
    summary = "store weights that are mostly zeros as bitmaps, decoded when the session loads"
    Options = SparseWeightOptions
    min_opset = MIN_OPSET
    options: SparseWeightOptions

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every layer whose weight is an initializer; layers that share one are one site."""
        seen: set[int] = set()
        for node in list(graph.graph.nodes):
            if not is_standard(node, *WEIGHTED):
                continue
            tensor = _weight(node)
            if tensor is None:
                yield Declined(label(node), "its weight is not an initializer")
                continue
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            layers = _readers(tensor, node)
            reason = self._why_not(graph, tensor)
            if reason:
                yield from (Declined(label(layer), reason) for layer in layers)
            else:
                yield Site(layers)

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The weight as bitmap and values."""
        tensor = _weight(site.nodes[0])
        weight = context.model.constant(tensor)
        assert tensor is not None and weight is not None
        stored = bitmap.encode(weight)
        decoded = f"{tensor.name}_decoded"
        constants = {f"{tensor.name}_mask": stored.mask, f"{tensor.name}_values": stored.values}
        before = Fragment(
            (helper.make_node("Identity", [tensor.name], [decoded]),), {tensor.name: weight}, (), (decoded,)
        )
        node = helper.make_node(
            sparse_weight.OP,
            list(constants),
            [decoded],
            domain=DOMAIN,
            weight_shape=list(weight.shape),
            to=helper.np_dtype_to_tensor_dtype(weight.dtype),
        )
        opset = max(context.model.opset, MIN_OPSET)
        after = Fragment((node,), constants, (), (decoded,), (sparse_weight.function(opset),))
        yield Candidate(self.name, after, before, {}, size_bytes=(weight.nbytes, stored.size_bytes))

    def apply(self, graph: Model, site: Site, candidate: Candidate) -> None:
        """Put the decoding node before the first layer; every reader of the weight reads what it decodes."""
        tensor = _weight(site.nodes[0])
        assert candidate.after is not None and tensor is not None
        (proto,) = candidate.after.nodes
        taken = set(graph.graph.tensors())
        inputs = [gs.Constant(unique(name, taken), value) for name, value in candidate.after.constants.items()]
        attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        decoded = gs.Variable(unique(proto.output[0], taken))
        where = next(i for i, node in enumerate(graph.graph.nodes) if node is site.nodes[0])
        graph.graph.nodes.insert(where, gs.Node(proto.op_type, "", attributes, inputs, [decoded], domain=proto.domain))
        for reader in list(tensor.outputs):
            for i, read in enumerate(reader.inputs):
                if read is tensor:
                    reader.inputs[i] = decoded
        for function in candidate.after.functions:
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
        weight = graph.constant(tensor)
        if weight is None or weight.dtype not in (np.float16, np.float32, np.float64):
            return f"'{tensor.name}' is not a floating-point constant"
        nonzero = int(np.count_nonzero(weight))
        if bitmap.size_bytes(weight.size, nonzero, weight.itemsize) > (1 - self.options.min_saving) * weight.nbytes:
            zeros = 1 - nonzero / weight.size
            return f"{zeros:.1%} zeros; a bitmap would save less than {self.options.min_saving:.0%}"
        return None


def _readers(tensor: gs.Tensor, first: gs.Node) -> tuple[gs.Node, ...]:
    """The layers whose weight is `tensor`, `first` ahead."""
    layers = [node for node in tensor.outputs if is_standard(node, *WEIGHTED) and _weight(node) is tensor]
    return tuple({id(node): node for node in (first, *layers)}.values())


def _weight(node: gs.Node) -> gs.Tensor | None:
    """The layer's weight: its second input, or MatMul's first where that is the constant."""
    for tensor in (node.inputs[1:2] + node.inputs[:1]) if node.op == "MatMul" else node.inputs[1:2]:
        if isinstance(tensor, gs.Constant):
            return tensor
    return None
