"""Model-local functions: the bodies that let a file with our operators run in plain ONNX Runtime."""

from onnx import AttributeProto, NodeProto

DOMAIN = "ai.onnxcomp"
DOMAIN_VERSION = 1
MIN_OPSET = 13  # what the bodies are written in; they mean the same in every later opset
MIN_IR = 8  # the first IR version with functions

# The type a referring attribute must declare, by attribute name.
_TYPES = {
    "auto_pad": AttributeProto.STRING,
    "alpha": AttributeProto.FLOAT,
    "dilations": AttributeProto.INTS,
    "group": AttributeProto.INT,
    "kernel_shape": AttributeProto.INTS,
    "pads": AttributeProto.INTS,
    "strides": AttributeProto.INTS,
    "to": AttributeProto.INT,
    "value_float": AttributeProto.FLOAT,
    "value_floats": AttributeProto.FLOATS,
    "value_ints": AttributeProto.INTS,
}


def refer(node: NodeProto, **references: str) -> NodeProto:
    """Let attributes of `node` take the enclosing function's values: `refer(cast, to="dtype")`. Returns `node`."""
    for name, source in references.items():
        node.attribute.append(AttributeProto(name=name, ref_attr_name=source, type=_TYPES[name]))
    return node
