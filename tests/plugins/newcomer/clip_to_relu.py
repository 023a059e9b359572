"""clip-to-relu: max(x, 0), written as a Clip without an upper bound.

    Clip(x, 0)    becomes    Relu(x)

ONNX Runtime fuses Relu into the Conv before it wherever it stands, Clip only in the blocked layout.
Never touches a Clip with an upper bound, or with bounds that are computed.
"""

from collections.abc import Iterable

import numpy as np
from onnx import helper
from pydantic import Field

from onnxcomp import Candidate, Declined, Model, Pass, PassOptions, Site
from onnxcomp.context import Context
from onnxcomp.fragment import Fragment


class ClipToReluOptions(PassOptions):
    """Options of clip-to-relu."""

    tolerance: float = Field(0.0, ge=0, description="how far from zero the lower bound may be")


class ClipToRelu(Pass):
    """Clip(x, 0) -> Relu(x)."""

    name = "clip-to-relu"
    summary = "turn Clip from zero up into Relu"
    Options = ClipToReluOptions
    options: ClipToReluOptions

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every Clip whose lower bound is zero, and which has no upper one."""
        for node in [node for node in graph.graph.nodes if node.op == "Clip"]:
            low = getattr(node.inputs[1], "values", None) if len(node.inputs) == 2 else None
            site = Site((node,))
            zero = low is not None and float(np.abs(low)) <= self.options.tolerance
            yield site if zero else Declined(site.name, "it does not clip from zero up, and only there")

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """Relu in the place of Clip: what cannot be slower needs no timing."""
        before = Fragment.of(context.model, site.nodes)
        relu = helper.make_node("Relu", list(before.inputs), list(before.outputs))
        yield Candidate(self.name, Fragment((relu,), {}, before.inputs, before.outputs), before)
