"""Fully connected layers for `unify`: those whose weights have blocks of one magnitude already."""

from collections.abc import Iterable

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from onnx import TensorProto

from onnxcomp.context import Context
from onnxcomp.convolution import is_standard, macs
from onnxcomp.formats.find_unified import shared
from onnxcomp.fragment import Fragment
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Declined, Site
from onnxcomp_passes.epilogue import find_activation
from onnxcomp_passes.linear import Linear
from onnxcomp_passes.sparse_gemm import LinearSite
from onnxcomp_passes.unified_layer import in_words, unified_product


def linear_sites(graph: Model, refusal: str | None) -> Iterable[LinearSite | Declined]:
    """Every Gemm and MatMul with such blocks, and its activation; none, where there is a `refusal`, which is told."""
    taken: set[int] = set()
    for node in list(graph.graph.nodes):
        if is_standard(node, "Gemm", "MatMul"):
            yield _site(graph, node, refusal, taken)


def _site(graph: Model, node: gs.Node, refusal: str | None, taken: set[int]) -> LinearSite | Declined:
    linear = Linear.read(graph, node)
    reason = linear if isinstance(linear, str) else refusal or why_nothing_found(linear.weight)
    if reason is None and graph.stored_bytes(node.inputs[1]) is None:
        reason = f"'{node.inputs[1].name}' is a constant expression: blocks of it would be stored"
    if reason or isinstance(linear, str):
        return Declined(Site((node,)).name, str(reason))
    epilogue = find_activation(graph, linear.nodes[-1].outputs[0], taken)
    taken.update(id(n) for n in epilogue.nodes)
    return LinearSite((*linear.nodes, *epilogue.nodes), linear, epilogue)


def linear_candidate(method: str, site: LinearSite, context: Context, *, measured: bool) -> Candidate | Declined:
    """The operator in the place of the layer."""
    x, weight = site.nodes[0].inputs[0].name, site.linear.weight
    if context.dtypes.get(x) != TensorProto.FLOAT:
        return Declined(site.name, "the input is not float32")
    stored = shared(weight)
    assert stored is not None, "matched"
    before, after = Fragment.of(context.model, site.nodes), unified_product(site, context, stored)
    dense = macs(site.nodes[0], context.shapes, weight.T.shape)
    live = stored.scales.size * stored.block[0] * stored.block[1] + stored.values.size
    return Candidate(
        method,
        after,
        before,
        in_words(stored, weight.size),
        context.measure(before, after) if measured else None,
        size_bytes=(before.size_bytes, after.size_bytes),
        macs=None if dense is None else (dense, dense * live // weight.size),
    )


def why_nothing_found(weight: NDArray[np.floating]) -> str | None:
    """Why no operator takes `weight` as it is, or None."""
    if weight.dtype != np.float32:
        return f"the weight is {weight.dtype}, the kernel computes in float32"
    if not np.isfinite(weight).all():
        return "the weight holds NaN or Inf"
    return None if shared(weight) is not None else "no blocks of one magnitude"
