"""Whether a Dropout passes its input through."""

import onnx_graphsurgeon as gs

from onnxcomp.model import Model


def is_inference(graph: Model, node: gs.Node) -> bool:
    """Its flag was an attribute before opset 7, nothing until 12, then an input; a mask that is read keeps the node."""
    if len(node.outputs) > 1 and (node.outputs[1].outputs or graph.is_interface(node.outputs[1])):
        return False
    if graph.opset < 7:
        return bool(node.attrs.get("is_test", 0))
    if len(node.inputs) > 2 and not node.inputs[2].is_empty():
        training = graph.constant(node.inputs[2])
        return training is not None and not training.any()
    return True
