"""Which nodes ONNX Runtime runs on its blocked layout (channels in groups of a vector), read from its optimised graphs.

A Conv of a fitting shape always is, and so are pools; what only follows (activations, Add, Concat) is blocked where all
its inputs are; everything else, operators of other domains first of all, takes and gives NCHW. Between the two stand
conversions, `ReorderInput` and `ReorderOutput`.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto

import onnx_graphsurgeon as gs

from onnxcomp.convolution import is_standard
from onnxcomp.model import Model

Shapes = Mapping[str, tuple[int, ...]]

_POOLS = ("MaxPool", "AveragePool")
_UNARY = (
    *("Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish"),
    *("BatchNormalization", "GlobalAveragePool", "GlobalMaxPool", "Dropout", "Identity"),
)
_ELEMENTWISE = ("Add", "Sum", "Mul")
_CHANNEL_STEP = 4  # a blocked Conv reads its input channels by fours


class Role(Enum):
    """How a node stands to the blocked layout."""

    PLAIN = auto()  # reads and writes NCHW
    BLOCKED = auto()  # reads and writes blocks
    ENTERS = auto()  # a Conv of so few channels that it reads NCHW; it writes blocks
    FOLLOWS = auto()  # blocked where every input is


def block_size(isa: str) -> int:
    """Channels in a block on a machine whose best instruction set is `isa`."""
    return 8 if isa == "avx2" else 16


class Layouts:
    """The roles of the nodes of `model`, each as it stands there, unfused; `shapes` are concrete, by tensor name."""

    def __init__(self, model: Model, shapes: Shapes, block: int) -> None:
        self._shapes = shapes
        self._block = block
        self._constants = _constants(model)
        self._roles = {id(node): self._role(node) for node in model.graph.nodes}
        self._by_output = {node.outputs[0].name: self._roles[id(node)] for node in model.graph.nodes if node.outputs}

    def role(self, node: gs.Node) -> Role:
        """The role of `node`."""
        return self._roles[id(node)]

    def role_of(self, output: str) -> Role:
        """The role of the node whose first output has that name; PLAIN where there is none."""
        return self._by_output.get(output, Role.PLAIN)

    def data_inputs(self, node: gs.Node) -> list[gs.Tensor]:
        """The inputs of `node` that are fed, or computed from what is fed, each once."""
        inputs = {id(tensor): tensor for tensor in node.inputs if not tensor.is_empty()}
        return [tensor for key, tensor in inputs.items() if key not in self._constants]

    def _role(self, node: gs.Node) -> Role:
        if is_standard(node, "Conv"):
            return self._conv(node)
        data = self.data_inputs(node)
        known = [self._shapes.get(tensor.name, ()) for tensor in (*data, *node.outputs[:1])]
        if not data or any(len(shape) != 4 for shape in known):
            return Role.PLAIN
        aligned = all(shape[1] % self._block == 0 for shape in known)
        if is_standard(node, *_POOLS):
            return Role.BLOCKED if aligned and len(node.outputs) == 1 else Role.PLAIN
        follows = is_standard(node, *_UNARY) or (is_standard(node, *_ELEMENTWISE) and len(set(known)) == 1)
        joins = is_standard(node, "Concat") and node.attrs.get("axis") == 1 and aligned
        return Role.FOLLOWS if follows or joins else Role.PLAIN

    def _conv(self, node: gs.Node) -> Role:
        weight = node.inputs[1]
        shape = self._shapes.get(weight.name, ())
        if len(shape) != 4 or id(weight) not in self._constants:
            return Role.PLAIN
        if int(node.attrs.get("group", 1)) > 1:
            return Role.BLOCKED if self._groups_fit(shape, int(node.attrs["group"])) else Role.PLAIN
        if shape[1] < self._block:
            return Role.ENTERS
        return Role.BLOCKED if shape[1] % _CHANNEL_STEP == 0 else Role.PLAIN

    def _groups_fit(self, shape: Sequence[int], group: int) -> bool:
        c_out, c_in_of_group = shape[:2]
        if c_in_of_group == 1 and c_out == group:
            return c_out % _CHANNEL_STEP == 0
        return c_in_of_group % self._block == 0 and c_out // group % self._block == 0


def _constants(model: Model) -> set[int]:
    """By identity, the tensors known before anything is fed: ONNX Runtime folds what is computed from constants."""
    graph = model.graph
    fed = {id(tensor) for tensor in graph.inputs}
    known = {id(t) for t in graph.tensors().values() if isinstance(t, gs.Constant)} - fed
    for node in graph.nodes:
        if all(tensor.is_empty() or id(tensor) in known for tensor in node.inputs):
            known.update(id(tensor) for tensor in node.outputs)
    return known
