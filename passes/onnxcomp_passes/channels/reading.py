"""Which operator does what with channels."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import onnx_graphsurgeon as gs

from onnxcomp.convolution import STANDARD_DOMAINS
from onnxcomp.model import Model
from onnxcomp_passes.channels.elementwise import read_elementwise, read_normalization, read_quotient
from onnxcomp_passes.channels.flow import UNKNOWN, Flow, channels_of
from onnxcomp_passes.channels.maps import (
    read_as_it_is,
    read_average_pool,
    read_dropout,
    read_mean,
    read_resize,
    read_slice,
)
from onnxcomp_passes.channels.pad import read_pad
from onnxcomp_passes.channels.regroup import read_concat, read_regroup
from onnxcomp_passes.channels.weights import read_conv, read_conv_transpose, read_gemm, read_matmul

Reader = Callable[[Model, gs.Node], Flow | str]

# Of one input, and finite where that is.
_ACTIVATIONS = (
    *("Abs", "Celu", "Clip", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Neg"),
    *("Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu"),
)
_ARITHMETIC = ("Add", "Max", "Mean", "Min", "Mul", "PRelu", "Sub", "Sum")

_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "Conv": read_conv,
        "ConvTranspose": read_conv_transpose,
        "Gemm": read_gemm,
        "MatMul": read_matmul,
        **dict.fromkeys((*_ACTIVATIONS, *_ARITHMETIC), read_elementwise),
        "Div": read_quotient,
        **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), read_normalization),
        **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool"), read_as_it_is),
        "AveragePool": read_average_pool,
        "Dropout": read_dropout,
        "Pad": read_pad,
        **dict.fromkeys(("ReduceMax", "ReduceMean"), read_mean),
        **dict.fromkeys(("Resize", "Upsample"), read_resize),
        "Slice": read_slice,
        "Concat": read_concat,
        **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), read_regroup),
    }
)


def read_flow(model: Model, node: gs.Node) -> Flow | str:
    """What `node` does with channels, or why the tensors around it must keep theirs."""
    reader = _READERS.get(node.op) if node.domain in STANDARD_DOMAINS else None
    if reader is None:
        return "may use its channels in any way"
    if any(not tensor.is_empty() and (tensor.outputs or model.is_interface(tensor)) for tensor in node.outputs[1:]):
        return "gives more than one result"
    if not channels_of(node.outputs[0]) or (not channels_of(node.inputs[0]) and node.op not in _ARITHMETIC):
        return UNKNOWN
    return reader(model, node)
