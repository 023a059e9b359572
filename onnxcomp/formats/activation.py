"""Activations that our operators take in as their last stage, in standard operators."""

from types import MappingProxyType

from onnx import NodeProto, helper

from onnxcomp.formats.functions import refer

# Activations that can be fused, and the attributes each takes. "" is none.
ACTIVATIONS: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "": (),
        "Relu": (),
        "Clip": ("clip_min", "clip_max"),
        "LeakyRelu": ("alpha",),
        "Sigmoid": (),
        "HardSwish": (),
        "Silu": (),
    }
)


def activation_nodes(name: str, x: str, y: str) -> list[NodeProto]:
    """`y` = activation(`x`) in a function body: `name` is one of ACTIVATIONS but ""."""
    node = helper.make_node
    match name:
        case "Clip":
            bounds = [refer(node("Constant", [], [bound]), value_float=bound) for bound in ("clip_min", "clip_max")]
            return [*bounds, node("Clip", [x, "clip_min", "clip_max"], [y])]
        case "LeakyRelu":
            return [refer(node("LeakyRelu", [x], [y]), alpha="alpha")]
        case "HardSwish":
            return [node("HardSigmoid", [x], ["gate"], alpha=1 / 6, beta=0.5), node("Mul", [x, "gate"], [y])]
        case "Silu":
            return [node("Sigmoid", [x], ["gate"]), node("Mul", [x, "gate"], [y])]
        case _:
            return [node(name, [x], [y])]
