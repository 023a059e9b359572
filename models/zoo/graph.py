"""Writes an ONNX graph one node at a time: names, initializers, and the finished, checked model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
PRODUCER = "onnxcomp models"
Attribute = int | float | Sequence[int]


class GraphWriter:
    """One input `input` (N, C, H, W) and one output `logits` (N, classes), N free; opset 17, IR 8.

    Nodes are named by operator and order (`Conv_0`, `Conv_1`, `Relu_0`), initializers by their node (`Conv_0.weight`).
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        self._input = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", channels, height, width])
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._count: Counter[str] = Counter()

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        arrays: Mapping[str, ArrayLike] | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> str:
        """Append `op` over `inputs` followed by constant `arrays`, in their order; returns its output's name.

        Floating-point arrays are stored as float32, whole numbers as int64.
        """
        name = f"{op}_{self._count[op]}"
        self._count[op] += 1
        constants = [self._constant(f"{name}.{suffix}", array) for suffix, array in (arrays or {}).items()]
        node = helper.make_node(op, [*inputs, *constants], [f"{name}.out"], name=name)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in (attributes or {}).items())
        self._nodes.append(node)
        return f"{name}.out"

    def finish(self, name: str, classes: int, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """The model, with the last node's output as `logits` and `metadata` as its metadata_props."""
        self._nodes[-1].output[0] = "logits"
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes])
        graph = helper.make_graph(self._nodes, name, [self._input], [output], self._initializers)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=[opset], producer_name=PRODUCER)
        helper.set_model_props(model, dict(metadata))
        return model

    def _constant(self, name: str, array: ArrayLike) -> str:
        values = np.asarray(array)
        stored = values.astype(np.float32 if values.dtype.kind == "f" else np.int64)
        self._initializers.append(numpy_helper.from_array(stored, name))
        return name
