"""shrink: remove the channels that nothing depends on.

    Conv(W1, b1) -> ... -> Conv(W2, b2)      becomes      Conv(W1[K], b1[K]) -> ... -> Conv(W2[:, K], b2')

K are the channels that stay. One goes where no weight after it reads it; also where it is constant (its filter is all
zeros) and what reads it can take it into its bias: b2'_o = b2_o + sum of W2_oi over the kernel times the constant x_i.
With zero padding that would be wrong along the border: there only constants that are zero go, such as a bias of zero
or less before a Relu. Found for the whole network at once, to a fixpoint, through activations, arithmetic, BatchNorm,
pooling, Pad, Slice, Resize, Concat, Flatten and Reshape, residual Adds (what both sides can do without), grouped and
depthwise Convs (groups as a whole, or equally many channels of each), down to fully connected layers. (The shrinkage of
Li et al., PENNI, ICML 2020.)

Exact: removed products are zeros, or move into a bias. Never touches inputs and outputs of the model, tensors that If,
Loop or Scan bodies read, weights that are shared, computed or hold NaN or Inf; never leaves a layer without channels.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from onnxcomp.context import Context
from onnxcomp.convolution import WEIGHTED, is_standard, label, macs
from onnxcomp.fragment import Fragment
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Declined, Pass, PassOptions, Site
from onnxcomp_passes.channels.analysis import Channels, analyse
from onnxcomp_passes.channels.flow import Flow
from onnxcomp_passes.channels.layer import Layer
from onnxcomp_passes.channels.parts import parts_of
from onnxcomp_passes.channels.slicing import sliced

_MAX_ERROR = 1e-5  # relative L2: sums in another order, and constants that are rounded once more


class ShrinkOptions(PassOptions):
    """Options of shrink."""

    align: int = Field(
        1, ge=1, description="numbers of channels go down to multiples of this; those of 16 are fast in ONNX Runtime"
    )


@dataclass(frozen=True, eq=False)
class ChannelsSite(Site):
    """Nodes around tensors that lose channels (see channels/parts.py)."""

    channels: Channels


class Shrink(Pass):
    """Remove the channels that nothing depends on."""

    name = "shrink"
    summary = "remove channels that nothing depends on, and constant ones, through the whole network"
    Options = ShrinkOptions
    options: ShrinkOptions

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every part of the network that can lose channels; every layer that cannot."""
        channels = analyse(graph, self.options.align)
        yield from (ChannelsSite(part, channels) for part in parts_of(channels))
        for node in channels.nodes:
            if is_standard(node, *WEIGHTED) and not channels.shrinks(node):
                yield Declined(label(node), _why_not(channels, channels.flows[id(node)]))

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The same nodes on fewer channels."""
        assert isinstance(site, ChannelsSite)
        before = Fragment.of(context.model, site.nodes)
        after = sliced(before, site.nodes, site.channels.edits(site.nodes))
        error = context.rewrite_error(before, after)
        if error is None or not error <= _MAX_ERROR:
            yield Declined(site.name, f"in this precision its outputs would be off by {error:.0e} (relative L2)")
            return
        kept = site.channels.kept
        outputs = [node.outputs[0].name for node in site.nodes if is_standard(node, *WEIGHTED)]
        yield Candidate(
            self.name,
            after,
            before,
            {"removed": sum(int((~kept[name]).sum()) for name in outputs)},
            size_bytes=(before.size_bytes, after.size_bytes),
            macs=_macs(site, context, after),
        )


def _why_not(channels: Channels, flow: Flow | str) -> str:
    """Why a layer keeps all its channels."""
    if isinstance(flow, str):
        return flow
    y = flow.output.name
    constant = np.flatnonzero(~np.isnan(channels.values[y]))
    if constant.size:
        return f"output channel {constant[0]} is constant but stays: {channels.kept.reason(y, constant[0])}"
    unread = np.flatnonzero(~flow.connected.any(axis=1)) if isinstance(flow, Layer) else constant
    if unread.size:
        x = flow.inputs[0].name
        return f"input channel {unread[0]} has no weights but stays: {channels.kept.reason(x, unread[0])}"
    return "none of its channels is dead"


def _macs(site: ChannelsSite, context: Context, after: Fragment) -> tuple[int, int] | None:
    """Multiply-adds of the site's layers before and after, None where a shape is unknown."""
    kept, shapes = site.channels.kept, context.shapes
    smaller = {name: (s[0], int(kept[name].sum()), *s[2:]) for name, s in shapes.items() if name in kept}
    before_after: list[tuple[int | None, int | None]] = []
    for node, proto in zip(site.nodes, after.nodes, strict=True):
        weight = context.model.constant(node.inputs[1]) if is_standard(node, *WEIGHTED) else None
        if weight is not None:
            sliced_shape = after.constants[proto.input[1]].shape
            before_after.append((macs(node, shapes, weight.shape), macs(node, smaller, sliced_shape)))
    first, last = zip(*before_after, strict=True)
    return None if None in (*first, *last) else (sum(first), sum(last))
