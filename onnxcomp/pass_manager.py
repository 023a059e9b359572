"""The manager that runs passes: match -> propose -> choose -> prove -> apply, then check.

It chooses by measured cost, proves every rewrite equal to what it replaces before it is applied, and checks the graph
after each pass.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

from onnxcomp.calibration import open_data, random_data
from onnxcomp.catalogue import installed
from onnxcomp.context import Context, NotRunnable, Timing
from onnxcomp.errors import ModelError, OnnxcompError, PassError, UsageError
from onnxcomp.fits import Fits
from onnxcomp.inputs import input_specs
from onnxcomp.model import Model
from onnxcomp.pass_api import BudgetPass, Candidate, Chooser, Declined, Front, Pass, Progress, Proposal, Site
from onnxcomp.pipeline_text import build, parse_pipeline
from onnxcomp.planner import fastest
from onnxcomp.selection import Selection

MAX_REWRITE_ERROR = 1e-4  # relative L2 of a rewritten fragment against what it replaces; float32 sums reach about 1e-6

_Proven = tuple[Site, Candidate, float | None]


def _silent(_stage: str, _done: int, _total: int) -> None:
    return None


@dataclass(frozen=True, eq=False)
class Applied:
    """A rewrite that was done, with the largest relative L2 error of its outputs (None for a removal)."""

    node: str
    key: str
    covers: tuple[str, ...]  # keys of all nodes that went into it
    candidate: Candidate
    rewrite_error: float | None


@dataclass(frozen=True)
class PassResult:
    """What one pass did to the model."""

    name: str
    options: Mapping[str, Any]
    seconds: float
    applied: tuple[Applied, ...]
    declined: tuple[Declined, ...]
    removed: tuple[str, ...]  # what the rewrites orphaned
    timings: Mapping[str, Timing]  # by site: of the fastest candidate there, taken or not; those that were timed
    front: Front | None = None  # what a pass with a budget chose from

    @property
    def changed(self) -> int:
        """The number of rewrites."""
        return len(self.applied)


@dataclass(frozen=True, eq=False)
class PassManager:
    """An ordered list of passes."""

    passes: tuple[Pass, ...]

    @classmethod
    def parse(cls, pipeline: str) -> "PassManager":
        """From pipeline text such as `fold-batchnorm,sparse-conv{when=always}`. UsageError says what is wrong where."""
        return cls(tuple(build(name, options, installed()) for name, options in parse_pipeline(pipeline)))

    def fit(self, *, portable: bool) -> "PassManager":
        """Without the passes that gain nothing where only standard operators may be used, if `portable`."""
        return PassManager(tuple(p for p in self.passes if p.portable)) if portable else self

    @property
    def budgeted(self) -> tuple[BudgetPass, ...]:
        """The passes that choose under a budget."""
        return tuple(one for one in self.passes if isinstance(one, BudgetPass))

    def require_data(self, *, given: bool) -> None:
        """UsageError where a pass needs inputs and none are given."""
        needing = next((one.name for one in self.passes if one.needs_data), None)
        if needing and not given:
            raise UsageError(
                f"--passes: {needing} needs --data, inputs on which it finds out what each layer can do without"
            )

    @property
    def text(self) -> str:
        """The pipeline as text that `parse` reads back."""
        return ",".join(p.text() for p in self.passes)

    def run(
        self,
        model: Model,
        context: Context | None = None,
        *,
        data: object = None,
        choose: Chooser | None = None,
        selection: Selection | None = None,
        progress: Progress = _silent,
        on_failure: Callable[[Model, Pass], str] | None = None,
    ) -> "Run":
        """Run every pass, checking the graph after each. `model` itself is left as it is.

        `on_failure` is given the model as it was before the failing pass and returns a hint for the message (where a
        reproducer was written). Raises PassError naming the pass, the node and the passes that ran before, and
        UsageError where a pass needs data and there is none.
        """
        context = context or _context(model, data)
        self.require_data(given=context.data is not None)
        selection = selection or Selection()
        selection.validate(model)
        results: list[PassResult] = []
        for one in self.passes:
            try:
                model, result = _run(one, model, context, choose or fastest, selection, progress)
            except Exception as error:
                ran = ", ".join(r.name for r in results) or "none"
                hint = f"; {on_failure(model, one)}" if on_failure else ""
                raise PassError(f"pass {one.name} failed: {_what(error)} (passes before it: {ran}){hint}") from error
            results.append(result)
        return Run(model, tuple(results))


def _context(model: Model, data: object) -> Context:
    """Surroundings from `data` (anything `open_data` takes), or seeded inputs where it is None."""
    specs = input_specs(model)
    given = random_data(specs) if data is None else open_data(data, specs)
    return Context.on_data(model, given, fitting=data is not None)


@dataclass(frozen=True, eq=False)
class Run:
    """The model after the passes, and what each of them did."""

    model: Model
    passes: tuple[PassResult, ...]

    @property
    def changed(self) -> int:
        """The number of rewrites."""
        return sum(one.changed for one in self.passes)


def _run(
    one: Pass, before: Model, context: Context, choose: Chooser, selection: Selection, progress: Progress
) -> tuple[Model, PassResult]:
    """The model after `one` (`before` itself where nothing was rewritten) and what happened."""
    start = perf_counter()
    model, sites, declined = _sites(one, before, selection)
    context = context.on(model)
    one.prepare(sites, context, progress)
    proposals, refused = _proposals(one, sites, context, progress)
    timings = {p.site.key: p.timing for p in proposals if p.timing}
    picks = choose(one, context, proposals)
    front = one.front(context, proposals) if isinstance(one, BudgetPass) else None  # of the graph as it still is
    proven, unproven = _proven(one, proposals, picks, context, progress)
    applied = [_apply(one, model, *what) for what in proven]
    removed = model.sweep() if applied else []
    if applied:
        _check(model)
    result = PassResult(
        name=one.name,
        options=one.options.model_dump(),
        seconds=perf_counter() - start,
        applied=tuple(applied),
        declined=(*declined, *refused, *unproven),
        removed=tuple(removed),
        timings=timings,
        front=front,
    )
    return (model if applied else before), result


def _check(model: Model) -> None:
    """OnnxcompError where the rewritten graph is not sound: the pass is to blame, not the input."""
    try:
        model.graph.toposort()
        model.check()
    except ModelError as error:
        raise OnnxcompError(f"its result is not a sound graph: {error}") from error


def _sites(one: Pass, before: Model, selection: Selection) -> tuple[Model, list[Site], list[Declined]]:
    """A copy of `before` to rewrite, at the opset the pass needs, with the sites in it and what was declined."""
    model = before.clone()
    sites, declined = _matched(one, model, selection)
    if sites and model.opset < one.min_opset:
        try:
            model.raise_opset(one.min_opset)
        except ModelError as error:
            return model, [], declined + [Declined(site.name, str(error)) for site in sites]
        sites, declined = _matched(one, model, selection)
    return model, sites, declined


def _matched(one: Pass, model: Model, selection: Selection) -> tuple[list[Site], list[Declined]]:
    sites: list[Site] = []
    declined: list[Declined] = []
    for found in one.match(model):
        refusal = found if isinstance(found, Declined) else selection.refusal(found)
        if refusal:
            declined.append(refusal)
        elif isinstance(found, Site):
            sites.append(found)
    return sites, declined


def _proposals(
    one: Pass, sites: Sequence[Site], context: Context, progress: Progress
) -> tuple[list[Proposal], list[Declined]]:
    """What could be done at each of `sites`, and at which nothing can."""
    proposals: list[Proposal] = []
    declined: list[Declined] = []
    for done, site in enumerate(sites):
        progress(one.name, done, len(sites))
        found = _found(one, site, context)
        if isinstance(found, Proposal):
            proposals.append(found)
        else:
            declined.append(found)
    progress(one.name, len(sites), len(sites))
    return proposals, declined


def _found(one: Pass, site: Site, context: Context) -> Proposal | Declined:
    try:
        with _naming(site):
            proposed = list(one.propose(site, context))
    except NotRunnable as error:
        return _not_runnable(site, error)
    candidates = [p for p in proposed if isinstance(p, Candidate)]
    if candidates:
        return Proposal(site, candidates)
    refusals = [p for p in proposed if isinstance(p, Declined)]
    return refusals[0] if refusals else Declined(site.name, "nothing to propose")


def _proven(
    one: Pass,
    proposals: Sequence[Proposal],
    picks: Sequence[Candidate | Declined],
    context: Context,
    progress: Progress,
) -> tuple[list[_Proven], list[Declined]]:
    """What was chosen, each with the error of its proof; and what was not, or cannot be proved here."""
    proven: list[_Proven] = []
    declined: list[Declined] = []
    fitted = context.layerwise is not None and any(isinstance(pick, Candidate) and pick.error for pick in picks)
    fits: Fits[tuple[Candidate, float | None]] = _fits(one, context) if fitted else Fits()
    for done, (proposal, pick) in enumerate(zip(proposals, picks, strict=True)):
        if isinstance(pick, Declined):
            declined.append(pick)
            continue
        fitting = context.layerwise if pick.error else None
        if fitting:
            progress(f"{one.name}: fit", done, len(picks))
        try:
            with _naming(proposal.site):
                refine = partial(_refined, one, proposal.site, pick, context)
                said = f"{proposal.site.key} {pick.method} {dict(pick.options)}"
                chosen, error = fits.of(said, refine) if fitting else (pick, _prove(pick, context))
                proven.append((proposal.site, chosen, error))
        except NotRunnable as error:
            declined.append(_not_runnable(proposal.site, error))
            continue
        if fitting and chosen.before:
            fitting.settle(chosen.before)
    return proven, declined


def _fits(one: Pass, context: Context) -> Fits[tuple[Candidate, float | None]]:
    """Of runs of a pass on this model, a new one of which begins."""
    fits: Fits[tuple[Candidate, float | None]] = (
        Fits() if context.digest is None else context.once(f"fits {one.text()} {context.digest}", Fits)
    )
    return fits.begin()


def _refined(one: Pass, site: Site, pick: Candidate, context: Context) -> tuple[Candidate, float | None]:
    """The pick fitted to the data, and the error of its proof."""
    chosen = one.refine(site, pick, context)
    return chosen, _prove(chosen, context)


def _not_runnable(site: Site, error: NotRunnable) -> Declined:
    return Declined(site.name, f"can be neither measured nor proved here: {error}")


def _prove(candidate: Candidate, context: Context) -> float | None:
    """The error of the rewrite, None for a removal. OnnxcompError where it is no rewrite but a change."""
    error = context.rewrite_error(candidate.before, candidate.after)
    if error is not None and not error <= MAX_REWRITE_ERROR:
        raise OnnxcompError(f"the rewrite's outputs are off by {error:.1e} (relative L2)")
    return error


def _apply(one: Pass, model: Model, site: Site, candidate: Candidate, error: float | None) -> Applied:
    name, covers = site.name, _covered(model, site, candidate)
    with _naming(site):
        one.apply(model, site, candidate)
    return Applied(name, covers[0], covers, candidate, error)


def _covered(model: Model, site: Site, candidate: Candidate) -> tuple[str, ...]:
    """Keys of the site's nodes, and of those behind them that the candidate also stands for."""
    keys = dict.fromkeys(str(node.outputs[0].name) for node in site.nodes)
    if candidate.before is not None:
        known = model.graph.tensors()
        keys.update(dict.fromkeys(node.output[0] for node in candidate.before.nodes if node.output[0] in known))
    return tuple(keys)


@contextmanager
def _naming(site: Site) -> Iterator[None]:
    """Name the node in whatever goes wrong there."""
    name = site.name
    try:
        yield
    except NotRunnable:
        raise
    except Exception as error:
        raise OnnxcompError(f"node '{name}': {_what(error)}") from error


def _what(error: Exception) -> str:
    """An error of ours says it all; of another one the type matters as much as the message."""
    return str(error) if isinstance(error, OnnxcompError) else f"{type(error).__name__}: {error}"
