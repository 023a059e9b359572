"""sparse-conv: run a Conv whose weight is mostly zeros by the direct sparse kernel.

    Conv(X, W, b) [-> Add Z] [-> activation]
      becomes  ai.onnxcomp::[Block]SparseConv[Add][activation](X, mask, values, b [, Z])

with W stored as a bitmap and its nonzeros, or blocks of them (onnxcomp/formats/sparse_conv.py). Where the zeros form
blocks or are n:16, that is proposed beside the form for zeros at random: which kernel is faster depends on the layer.
Applies to 1-D and 2-D float32 convolutions with a constant weight, any strides, pads, dilations and groups; only where
the kernel is measured faster than ONNX Runtime's dense Conv here, unless `when=always`. The activations are those ORT
fuses into its own Conv, and SiLU. An Add is taken in where both sides have one shape. Exact: the same products are
summed, in another order. (Park et al., ICLR 2017, section 3.1.)

Never touches integer, float16 or double convolutions, weights that hold NaN or Inf (their zeros would no longer
multiply them) and nodes inside If, Loop or Scan bodies.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from onnxcomp.context import Context
from onnxcomp.convolution import Convolution, is_standard, macs
from onnxcomp.formats import sparse_conv
from onnxcomp.formats.bitmap import Bitmap
from onnxcomp.formats.functions import MIN_OPSET
from onnxcomp.fragment import Fragment
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Declined, Pass, Site
from onnxcomp.structure import structure_of
from onnxcomp_passes.epilogue import Epilogue, find_epilogue
from onnxcomp_passes.sparsity import SparseOptions, why_not_sparse


@dataclass(frozen=True, eq=False)
class ConvSite(Site):
    """A Conv, its numbers, and what follows it that the operator takes in."""

    convolution: Convolution
    epilogue: Epilogue


class SparseConv(Pass):
    """Run convolutions that are mostly zeros by the direct sparse kernel."""

    name = "sparse-conv"
    summary = "run convolutions that are mostly zeros by the direct sparse kernel"
    Options = SparseOptions
    portable = False
    min_opset = MIN_OPSET
    options: SparseOptions

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every Conv, with the residual and activation that can go into the operator."""
        graph.infer_shapes()
        taken: set[int] = set()
        for node in list(graph.graph.nodes):
            if not is_standard(node, "Conv"):
                continue
            name = Site((node,)).name
            convolution = Convolution.read(graph, node)
            reason = convolution if isinstance(convolution, str) else self._why_not(convolution)
            if reason or isinstance(convolution, str):
                yield Declined(name, str(reason))
                continue
            epilogue = find_epilogue(graph, node, taken)
            taken.update(id(n) for n in epilogue.nodes)
            yield ConvSite((node, *epilogue.nodes), convolution, epilogue)

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The sparse operator, timed against the dense nodes it would replace."""
        assert isinstance(site, ConvSite)
        node, weight = site.nodes[0], site.convolution.weight
        if context.dtypes.get(node.inputs[0].name) != TensorProto.FLOAT:
            yield Declined(site.name, "the input is not float32")
            return
        before = Fragment.of(context.model, site.nodes)
        dense_macs = macs(node, context.shapes, weight.shape)
        zeros = round(1 - np.count_nonzero(weight) / weight.size, 4)
        structures = _structures(site.convolution)
        for structure in structures if self.options.when == "faster" else structures[:1]:
            stored = sparse_conv.encode(weight, structure)
            after = _sparse(site, before, stored, structure, max(context.model.opset, MIN_OPSET))
            timing = context.measure(before, after) if self.options.when == "faster" else None
            yield Candidate(
                self.name,
                after,
                before,
                {"structure": structure, "zeros": zeros},
                timing,
                size_bytes=(before.size_bytes, after.size_bytes),
                macs=None if dense_macs is None else (dense_macs, dense_macs * stored.values.size // weight.size),
            )

    def _why_not(self, convolution: Convolution) -> str | None:
        dimensions = convolution.weight.ndim - 2
        if dimensions > 2:
            return f"{dimensions}-D convolutions are not supported"
        return why_not_sparse(convolution.weight, self.options)


def _structures(convolution: Convolution) -> tuple[str, ...]:
    """The structures that the weight can be stored in, the most particular first."""
    found = structure_of(convolution.weight).pattern.removesuffix(" blocks")
    height = sparse_conv.BLOCK_HEIGHTS.get(found, 1)
    fits = sparse_conv.is_known(found) and convolution.weight.shape[0] // convolution.group % height == 0
    return tuple(dict.fromkeys((found if fits else sparse_conv.UNSTRUCTURED, sparse_conv.UNSTRUCTURED)))


def _sparse(site: ConvSite, before: Fragment, stored: Bitmap, structure: str, opset: int) -> Fragment:
    """The fragment with the operator, its weight as `stored`, under the names at the border of `before`."""
    node, convolution = site.nodes[0], site.convolution
    base = node.inputs[1].name
    constants = {f"{base}_mask": stored.mask, f"{base}_values": stored.values}
    inputs = [node.inputs[0].name, *constants]
    if convolution.bias is None:
        constants[f"{base}_bias"] = convolution.bias_or_zeros
        inputs.append(f"{base}_bias")
    else:
        constants[node.inputs[2].name] = convolution.bias
        inputs.append(node.inputs[2].name)
    if site.epilogue.residual:
        inputs.append(site.epilogue.residual)
    form = sparse_conv.Epilogue(bool(site.epilogue.residual), site.epilogue.activation)
    attributes = {k: v for k, v in convolution.attributes.items() if k in sparse_conv.CONV_ATTRIBUTES}
    proto = sparse_conv.node(
        form,
        inputs,
        before.outputs[0],
        convolution.weight.shape,
        node.name,
        structure=structure,
        **attributes,
        **site.epilogue.attributes,
    )
    body = sparse_conv.function(form, opset, structure)
    return Fragment((proto,), constants, before.inputs, before.outputs, (body,))
