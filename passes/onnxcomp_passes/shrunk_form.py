"""What shrink makes of a layer that no longer reads some of its inputs, and of what is before it."""

from dataclasses import replace

from onnxcomp.context import Context, Timing
from onnxcomp.fragment import Fragment, splice
from onnxcomp.pass_api import Candidate
from onnxcomp_passes.factor_sites import FactorSite
from onnxcomp_passes.shrink import ChannelsSite, Shrink, ShrinkOptions

ALIGN = 16  # of the shrink behind compress in the default pipeline


def shrunk_form(site: FactorSite, weight: Fragment, context: Context, *, timed: bool) -> Candidate | None:
    """`site` at the costs that are left of it once `weight` stands there, less what layers before it save by that.

    These are taken as they are in the network: where they are replaced as well, what they save is less.
    None where no channel can go. Raises NotRunnable as `Context.measure` does.
    """
    model = context.model.clone()
    splice(model, [model.graph.tensors()[site.key].inputs[0]], weight)
    around = replace(context, model=model)
    shrink = Shrink(ShrinkOptions(align=ALIGN))
    parts = (part for part in shrink.match(model) if isinstance(part, ChannelsSite))
    mine = next((part for part in parts if any(node.outputs[0].name == site.key for node in part.nodes)), None)
    found = next((one for one in shrink.propose(mine, around) if isinstance(one, Candidate)), None) if mine else None
    if found is None or found.before is None or found.after is None:
        return None
    timing = None
    if timed:
        whole, part = Fragment.of(context.model, site.fused), around.measure(found.before, found.after)
        dense = context.measure(whole, whole)
        timing = Timing(dense.before_ms, dense.before_ms - (part.before_ms - part.after_ms)) if dense and part else None
    size, macs = Fragment.of(context.model, site.nodes).size_bytes, site.macs(context)
    return replace(
        found,
        timing=timing,
        size_bytes=(size, size - (found.size_bytes[0] - found.size_bytes[1])),
        macs=(macs, macs - (found.macs[0] - found.macs[1])) if macs is not None and found.macs else None,
    )
