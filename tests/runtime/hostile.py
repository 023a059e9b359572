"""Ways to spoil a model of one node, whose function body is taken out: what is refused, is refused by the kernel."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from onnxcomp.errors import ModelError
from onnxcomp.runtime import session as runtime

Change = Callable[[np.ndarray], np.ndarray]


def stripped(model: ModelProto) -> ModelProto:
    """The model without function bodies."""
    del model.functions[:]
    return model


def with_attribute(model: ModelProto, name: str, value: Any) -> ModelProto:
    """The model with one attribute of its node set to `value`, or without it where that is None."""
    node = model.graph.node[0]
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    if value is not None:
        node.attribute.append(helper.make_attribute(name, value))
    return model


def with_tensor(model: ModelProto, name: str, change: Change) -> ModelProto:
    """The model with one initializer changed."""
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))
    return model


def with_input(model: ModelProto, name: str, element_type: int, shape: list[int | str]) -> ModelProto:
    """The model with an input in the place of one of its initializers."""
    kept = [tensor for tensor in model.graph.initializer if tensor.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.input.append(helper.make_tensor_value_info(name, element_type, shape))
    return model


def flip(index: int, bit: int) -> Change:
    """Flips one bit of a mask."""

    def change(mask: np.ndarray) -> np.ndarray:
        mask = mask.copy()
        mask[index] ^= 1 << bit
        return mask

    return change


def assert_refused(model: ModelProto, message: str) -> None:
    """No session can be made of the model, and the error says `message` and names the node."""
    with pytest.raises(ModelError) as refusal:
        runtime.session(model.SerializeToString(), threads=1)
    assert message in str(refusal.value)
    assert "node 'the_node'" in str(refusal.value)
