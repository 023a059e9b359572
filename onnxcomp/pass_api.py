"""What a pass is: the interface that built-in and third-party passes implement, and the values they exchange.

A pass says where it could act (`match`), what it could do there at which cost (`propose`, which mutates nothing) and
how (`apply`). A refusal is a `Declined` with its reason, kept for the report; an exception is a broken promise.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import onnx_graphsurgeon as gs
from pydantic import BaseModel, ConfigDict

from onnxcomp.context import Context, Timing
from onnxcomp.convolution import label
from onnxcomp.fragment import Fragment, splice
from onnxcomp.model import Model


class PassOptions(BaseModel):
    """Base of a pass's typed configuration: unknown keys are errors, values are checked and never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Progress = Callable[[str, int, int], None]
"""Told the stage, how much is done, and of how much."""


@dataclass(frozen=True)
class Declined:
    """A node that a pass leaves alone, and why."""

    node: str
    reason: str


@dataclass(frozen=True, eq=False)
class Site:
    """Nodes that a pass could rewrite together. `nodes[0]` is the one that reports and patterns name."""

    nodes: tuple[gs.Node, ...]

    @property
    def name(self) -> str:
        """What reports call the site."""
        return label(self.nodes[0])

    @property
    def key(self) -> str:
        """Unique in a model: the site's first output tensor (names of nodes need not be)."""
        return str(self.nodes[0].outputs[0].name)


@dataclass(frozen=True, eq=False)
class Candidate:
    """One thing a pass could do at a site."""

    method: str  # the report's word
    after: Fragment | None = None  # what would stand there; None for a removal
    before: Fragment | None = None  # what stands there, with the weights the candidate stands for
    options: Mapping[str, Any] = field(default_factory=dict)
    timing: Timing | None = None  # None: cannot be slower by construction
    error: float = 0.0  # relative L2 of the weight against the original; 0 for an exact rewrite
    output_error: float | None = None  # the same of the layer's output on the data; None where nothing was fitted
    network_change: float | None = None  # of the network's outputs, were this the only rewrite (sensitivity.py)
    size_bytes: tuple[int, int] = (0, 0)  # stored: before, after
    macs: tuple[int, int] | None = None  # multiply-adds: before, after
    nchw: bool = False  # it runs on NCHW alone, so that conversions stand where its neighbours run on blocks


class Pass(ABC):
    """A rewrite. Holds its options and nothing else."""

    name: ClassVar[str]
    summary: ClassVar[str]
    Options: ClassVar[type[PassOptions]] = PassOptions
    portable: ClassVar[bool] = True  # False: gains nothing where only standard operators may be used
    min_opset: ClassVar[int] = 1  # what the pass emits needs; the manager raises the model's opset where it is older
    needs_data: ClassVar[bool] = False  # True: does not run without

    def __init__(self, options: PassOptions | None = None) -> None:
        self.options = options if options is not None else self.Options()

    @abstractmethod
    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every place the pass could act, and every place of its kind where it cannot."""

    def prepare(self, sites: Sequence[Site], context: Context, progress: Progress) -> None:
        """Find out what `propose` will need, for all sites at once. By default nothing. Mutates no model."""
        return

    @abstractmethod
    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """What could be done at `site`. Mutates nothing."""

    def refine(self, site: Site, candidate: Candidate, context: Context) -> Candidate:
        """`candidate`, which was chosen and changes weights, with its numbers fitted to data: `context.layerwise`.

        Called where there is data, in the order of the graph. By default the candidate stays as it is.
        """
        return candidate

    def apply(self, graph: Model, site: Site, candidate: Candidate) -> None:
        """Rewrite `site`. By default the candidate's fragment takes the place of the site's nodes."""
        if candidate.after is None:
            raise NotImplementedError(f"{self.name}: a candidate without a fragment needs an apply of its own")
        splice(graph, site.nodes, candidate.after)

    def text(self) -> str:
        """The pass as pipeline text, with the options that differ from their defaults."""
        given = self.options.model_dump(exclude_defaults=True)
        return self.name + ("{" + ",".join(f"{k}={_plain(v)}" for k, v in given.items()) + "}" if given else "")


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True, eq=False)
class Proposal:
    """What a pass could do at a site: one candidate or more."""

    site: Site
    candidates: Sequence[Candidate]

    @property
    def timing(self) -> Timing | None:
        """Of the fastest candidate that was timed."""
        timings = [candidate.timing for candidate in self.candidates if candidate.timing]
        return min(timings, key=lambda timing: timing.after_ms, default=None)


Picks = Sequence[Candidate | Declined]
"""Which candidate goes to each site, or why none does, in the order of the proposals."""

Chooser = Callable[[Pass, Context, Sequence[Proposal]], Picks]
"""Picks from all proposals of a pass."""


@dataclass(frozen=True)
class Dial:
    """How far a pass that chooses under a budget goes, and by which loss it counts."""

    share: float = 1.0  # of the way to what it is asked to save, 0 to 1
    loss: Literal["network", "layer"] = "network"  # the change of the network's output, or of the layer's


@dataclass(frozen=True)
class FrontPoint:
    """What the choice at a place of the dial is expected to cost and to lose."""

    share: float  # of the dial's way
    cost: float  # of the dense layers', as a share
    loss: float  # of second order, by the dial's loss; of the network's output unless it says otherwise


@dataclass(frozen=True)
class Front:
    """What there was to choose from: the least that is lost at every cost, before anything was fitted or measured."""

    unit: str  # of the cost, as people call it
    points: tuple[FrontPoint, ...]


class BudgetPass(Pass):
    """A pass that proposes many candidates a site and chooses among those of all sites under one budget."""

    @property
    def aimed(self) -> bool:
        """Whether its options say how far to go, so that going all the way is what is likely wanted."""
        return False

    @abstractmethod
    def allocate(self, context: Context, proposals: Sequence[Proposal], dial: Dial) -> Picks:
        """What loses least of all that saves enough. Deterministic."""

    def front(self, context: Context, proposals: Sequence[Proposal]) -> Front | None:
        """What `allocate` would choose all along the dial, for reports alone. By default nothing is told."""
        return None
