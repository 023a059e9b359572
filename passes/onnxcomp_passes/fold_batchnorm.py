"""fold-batchnorm: fold an inference BatchNormalization into the Conv before it.

    Conv(W, b) -> BatchNormalization(gamma, beta, mu, var, eps)        becomes        Conv(W', b')

    a = gamma / sqrt(var + eps),   W' = a * W (per output channel),   b' = a * (b - mu) + beta

in double precision, rounded once (Ioffe and Szegedy 2015, section 3.1). Also for ConvTranspose. Declines where the
convolution's result is read elsewhere, where a parameter is not a constant or is shared, in training mode, and where
the weight is computed by a constant expression: folding would store it and grow the file. Never touches a
BatchNormalization before a convolution: with zero padding that is inexact at the borders.
"""

from collections.abc import Iterable

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.context import Context
from onnxcomp.convolution import is_standard, label, why_unknown
from onnxcomp.fragment import Fragment, to_proto
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Declined, Pass, Site


class FoldBatchnorm(Pass):
    """Fold an inference BatchNormalization into the convolution before it."""

    name = "fold-batchnorm"
    summary = "fold an inference BatchNormalization into the convolution before it"

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every BatchNormalization, with the convolution before it."""
        for node in list(graph.graph.nodes):
            if is_standard(node, "BatchNormalization"):
                yield _site(graph, node)

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The folded convolution."""
        conv, batchnorm = site.nodes
        before = Fragment.of(context.model, site.nodes)
        value = before.constants
        gamma, beta, mean, variance = (value[t.name].astype(np.float64) for t in batchnorm.inputs[1:5])
        weight = value[conv.inputs[1].name]
        channels = _channels(conv, weight)
        bias = value[conv.inputs[2].name] if _has_bias(conv) else np.zeros(channels)
        if not gamma.shape == beta.shape == mean.shape == variance.shape == bias.shape == (channels,):
            yield Declined(label(batchnorm), f"the parameters do not have {channels} values each")
            return
        spread = variance + float(batchnorm.attrs.get("epsilon", 1e-5))
        if not (spread > 0).all():
            yield Declined(label(batchnorm), "variance + epsilon is not positive")
            return
        scale = gamma / np.sqrt(spread)
        folded = (weight * _per_output_channel(conv, weight, scale)).astype(weight.dtype)
        shifted = (scale * (bias - mean) + beta).astype(weight.dtype)
        if not (np.isfinite(folded).all() and np.isfinite(shifted).all()):
            yield Declined(label(batchnorm), "the folded weight would not be finite")
            return
        names = (f"{conv.inputs[1].name}_folded", f"{conv.inputs[1].name}_folded_bias")
        proto = to_proto(conv)
        proto.input[1:] = names
        proto.output[:] = before.outputs
        after = Fragment((proto,), dict(zip(names, (folded, shifted), strict=True)), before.inputs, before.outputs)
        yield Candidate("fold-batchnorm", after, before, size_bytes=(before.size_bytes, after.size_bytes))


def _site(graph: Model, node: gs.Node) -> Site | Declined:
    name = label(node)
    conv = node.inputs[0].inputs[0] if node.inputs[0].inputs else None
    if conv is None or not is_standard(conv, "Conv", "ConvTranspose"):
        return Declined(name, "does not follow a convolution")
    between = node.inputs[0]
    if len(between.outputs) != 1 or graph.is_interface(between) or graph.is_captured(between):
        return Declined(name, f"'{between.name}' is read by others too")
    if node.attrs.get("training_mode", 0) or any(not t.is_empty() and t.outputs for t in node.outputs[1:]):
        return Declined(name, "is in training mode")
    if graph.opset < 9 and not node.attrs.get("spatial", 1):
        return Declined(name, "has statistics for every pixel (spatial = 0)")
    for tensor in (*node.inputs[1:5], *conv.inputs[1:3]):
        value = None if tensor.is_empty() else graph.constant(tensor)
        if value is None and not tensor.is_empty():
            return Declined(name, why_unknown(graph, tensor))
    weight = conv.inputs[1]
    if graph.stored_bytes(weight) is None:
        return Declined(name, f"'{weight.name}' is a constant expression: folding would store it whole")
    if len(weight.outputs) != 1 or graph.is_captured(weight):
        return Declined(name, f"'{weight.name}' is shared with other nodes")
    return Site((conv, node))


def _has_bias(conv: gs.Node) -> bool:
    return len(conv.inputs) > 2 and not conv.inputs[2].is_empty()


def _channels(conv: gs.Node, weight: NDArray[np.floating]) -> int:
    """C_out: W is (C_out, C_in / group, ...) for Conv, (C_in, C_out / group, ...) for ConvTranspose."""
    return int(weight.shape[0] if conv.op == "Conv" else weight.shape[1] * int(conv.attrs.get("group", 1)))


def _per_output_channel(conv: gs.Node, weight: NDArray[np.floating], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """`scale` (C_out) in a shape that multiplies W along its output channels."""
    ones = (1,) * (weight.ndim - 2)
    if conv.op == "Conv":
        return scale.reshape(-1, 1, *ones)
    group = int(conv.attrs.get("group", 1))
    by_group = scale.reshape(group, 1, weight.shape[1])
    return np.repeat(by_group, weight.shape[0] // group, axis=1).reshape(weight.shape[0], weight.shape[1], *ones)
