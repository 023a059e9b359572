"""sparse-gemm: run a fully connected layer whose weight is mostly zeros by the sparse kernel.

    Gemm(X, W, c) [-> activation]                becomes  ai.onnxcomp::SparseGemm[activation](X, mask, values, b)
    MatMul(X, W) [-> Add c] [-> activation]      becomes  SparseGemm where X is a matrix, else SparseMatMul

with W as (N, K), outputs first, stored as a bitmap and its nonzeros (onnxcomp/formats/bitmap.py), Gemm's alpha and beta
multiplied into W and b. Applies to float32 layers with a constant weight, any transB and any bias that is the same for
every row; only where the kernel is measured faster than ONNX Runtime's dense layer here, at the batch of the data,
unless `when=always`. Exact: the same products are summed, in another order. (At batch 1 a layer takes as long as its
weight takes to be read, so it gains what the bitmap saves; Han et al., ISCA 2016, section 2.)

Never touches a product of two activations, a weight on the left, a transposed X (transA), weights that hold NaN or Inf
(their zeros would no longer multiply them) and nodes inside If, Loop or Scan bodies.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from onnxcomp.context import Context
from onnxcomp.convolution import is_standard, macs
from onnxcomp.formats import bitmap, sparse_gemm
from onnxcomp.formats.functions import MIN_OPSET
from onnxcomp.fragment import Fragment
from onnxcomp.linear import Linear
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Declined, Pass, Site
from onnxcomp_passes.epilogue import Epilogue, find_activation
from onnxcomp_passes.sparsity import SparseOptions, why_not_sparse


@dataclass(frozen=True, eq=False)
class LinearSite(Site):
    """A fully connected layer, its numbers, and the activation that the operator takes in."""

    linear: Linear
    epilogue: Epilogue


class SparseGemm(Pass):
    """Run fully connected layers that are mostly zeros by the sparse kernel."""

    name = "sparse-gemm"
    summary = "run fully connected layers that are mostly zeros by the sparse kernel"
    Options = SparseOptions
    portable = False
    min_opset = MIN_OPSET
    options: SparseOptions

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every Gemm and MatMul, with the bias and activation that can go into the operator."""
        graph.infer_shapes()
        taken: set[int] = set()
        for node in list(graph.graph.nodes):
            if not is_standard(node, "Gemm", "MatMul"):
                continue
            linear = Linear.read(graph, node)
            reason = linear if isinstance(linear, str) else why_not_sparse(linear.weight, self.options)
            if reason or isinstance(linear, str):
                yield Declined(Site((node,)).name, str(reason))
                continue
            epilogue = find_activation(graph, linear.nodes[-1].outputs[0], taken)
            taken.update(id(n) for n in epilogue.nodes)
            yield LinearSite((*linear.nodes, *epilogue.nodes), linear, epilogue)

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The sparse operator, timed against the dense nodes it would replace."""
        assert isinstance(site, LinearSite)
        node, weight = site.nodes[0], site.linear.weight
        if context.dtypes.get(node.inputs[0].name) != TensorProto.FLOAT:
            yield Declined(site.name, "the input is not float32")
            return
        before = Fragment.of(context.model, site.nodes)
        rank = len(context.shapes.get(node.inputs[0].name, ()))
        form = sparse_gemm.Form(site.linear.any_rank and rank != 2, site.epilogue.activation)
        after = _sparse(site, form, before, max(context.model.opset, MIN_OPSET))
        timing = context.measure(before, after) if self.options.when == "faster" else None
        dense_macs = macs(node, context.shapes, weight.T.shape)
        nonzero = int(np.count_nonzero(weight))
        yield Candidate(
            self.name,
            after,
            before,
            {"structure": "unstructured", "zeros": round(1 - nonzero / weight.size, 4)},
            timing,
            size_bytes=(before.size_bytes, after.size_bytes),
            macs=None if dense_macs is None else (dense_macs, dense_macs * nonzero // weight.size),
        )


def _sparse(site: LinearSite, form: sparse_gemm.Form, before: Fragment, opset: int) -> Fragment:
    """The fragment with the operator, under the names at the border of `before`."""
    node, linear = site.nodes[0], site.linear
    stored = bitmap.encode(linear.weight)
    base = node.inputs[1].name
    constants = {
        f"{base}_mask": stored.mask,
        f"{base}_values": stored.values,
        f"{base}_bias": np.ascontiguousarray(linear.bias),
    }
    outputs, columns = linear.weight.shape
    proto = sparse_gemm.node(
        form,
        [node.inputs[0].name, *constants],
        before.outputs[0],
        (outputs, columns),
        node.name,
        **site.epilogue.attributes,
    )
    return Fragment((proto,), constants, before.inputs, before.outputs, (sparse_gemm.function(form, opset),))
