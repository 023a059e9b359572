"""Passes as a third party would write them: one that works, and one for each promise that a pass can break."""

from collections.abc import Iterable

import numpy as np
import onnx_graphsurgeon as gs
from onnx import helper
from pydantic import Field

from onnxcomp.context import Context
from onnxcomp.fragment import Fragment
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Declined, Pass, PassOptions, Site


def replaced(context: Context, site: Site, op: str, **constants: np.ndarray) -> tuple[Fragment, Fragment]:
    """The site as it is, and with `op` of its input and `constants` in its place."""
    before = Fragment.of(context.model, site.nodes)
    node = helper.make_node(op, [*before.inputs, *constants], list(before.outputs))
    return before, Fragment((node,), constants, before.inputs, before.outputs)


class OnRelu(Pass):
    """Acts on every Relu."""

    summary = "a test's pass"

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every Relu."""
        yield from (Site((node,)) for node in list(graph.graph.nodes) if node.op == "Relu")

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """max(x, zero), which is what Relu is."""
        before, after = replaced(context, site, "Max", zero=np.zeros(1, np.float32))
        yield Candidate(self.name, after, before)


class BoundOptions(PassOptions):
    """Options of relu-to-max."""

    at_least: float = Field(0, ge=0, description="the bound [red]of[/red] Max")


class ReluToMax(OnRelu):
    """Works."""

    name = "relu-to-max"
    Options = BoundOptions


class NeedsAnOption(OnRelu):
    """Works, once it is told what."""

    class Options(PassOptions):
        """An option without a default."""

        rank: int = Field(ge=1, description="must be given")

    name = "needs-an-option"


class MatchFails(OnRelu):
    """Raises while it matches."""

    name = "match-fails"

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Never ends well."""
        raise KeyError("lost")


class ProposeFails(OnRelu):
    """Raises while it proposes."""

    name = "propose-fails"

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """Never ends well."""
        raise ZeroDivisionError("divided by zero")


class Dangling(OnRelu):
    """Leaves the Relu reading a tensor that nothing makes."""

    name = "dangling"

    def apply(self, graph: Model, site: Site, candidate: Candidate) -> None:
        """Break the graph."""
        site.nodes[0].inputs[0] = gs.Variable("nowhere")


class Inexact(OnRelu):
    """Puts Neg where Relu was and says so: the proof of the rewrite catches it."""

    name = "inexact"

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """-x, with what it replaces."""
        before, after = replaced(context, site, "Neg")
        yield Candidate(self.name, after, before)


class Unproved(OnRelu):
    """Puts Neg where Relu was and does not say for what: only the comparison of the whole network catches it."""

    name = "unproved"

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """-x alone."""
        yield Candidate(self.name, replaced(context, site, "Neg")[1])


class Interrupted(OnRelu):
    """The user presses Ctrl-C while it proposes."""

    name = "interrupted"

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """Never returns."""
        raise KeyboardInterrupt


WORKING = (ReluToMax, NeedsAnOption)
FAILING = (ReluToMax, MatchFails, ProposeFails, Dangling, Inexact)
NUMBER = 5


class Nameless(OnRelu):
    """Has no name."""


class Impostor(OnRelu):
    """Takes a built-in pass's name."""

    name = "sparse-conv"
