"""Passes, and the manager that runs them: match -> propose -> choose -> apply, then check.

A pass says where it could act (`match`), what it could do there at which cost (`propose`, which mutates nothing) and how
(`apply`). The manager chooses by measured cost, proves every rewrite equal to what it replaces, applies it, and checks
the graph after each pass. A refusal is a `Declined` with its reason, kept for the report; an exception is a broken promise.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, ClassVar

import onnx_graphsurgeon as gs
from pydantic import BaseModel, ConfigDict, ValidationError

from onnxcomp.calibration import open_data, random_data
from onnxcomp.context import Context, Timing
from onnxcomp.convolution import label
from onnxcomp.errors import ModelError, OnnxcompError, PassError, UsageError
from onnxcomp.fragment import Fragment, splice
from onnxcomp.inputs import input_specs
from onnxcomp.model import Model

MAX_REWRITE_ERROR = 1e-4  # relative L2 of a rewritten fragment against what it replaces; float32 sums reach about 1e-6


class PassOptions(BaseModel):
    """Base of a pass's typed configuration: unknown keys are errors, values are checked and never change."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    size_bytes: tuple[int, int] = (0, 0)  # stored: before, after
    macs: tuple[int, int] | None = None  # multiply-adds: before, after


class Pass(ABC):
    """A rewrite. Holds its options and nothing else."""

    name: ClassVar[str]
    summary: ClassVar[str]
    Options: ClassVar[type[PassOptions]] = PassOptions
    portable: ClassVar[bool] = True  # False: gains nothing where only standard operators may be used
    min_opset: ClassVar[int] = 1  # what the pass emits needs; the manager raises the model's opset where it is older

    def __init__(self, options: PassOptions | None = None) -> None:
        self.options = options if options is not None else self.Options()

    @abstractmethod
    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every place the pass could act, and every place of its kind where it cannot."""

    @abstractmethod
    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """What could be done at `site`. Mutates nothing."""

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

    @property
    def changed(self) -> int:
        """The number of rewrites."""
        return len(self.applied)


Chooser = Callable[[str, Site, Sequence[Candidate]], Candidate | Declined]
Progress = Callable[[str, int, int], None]  # stage, done, total


def _silent(_stage: str, _done: int, _total: int) -> None:
    return None


@dataclass(frozen=True)
class Selection:
    """Which nodes passes may touch, by regular expressions on their names (`re.search`)."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def validate(self, model: Model) -> None:
        """UsageError for a pattern that is not a regular expression or matches no node of `model`."""
        names = [label(node) for node in model.graph.nodes]
        for option, patterns in (("--include", self.include), ("--exclude", self.exclude)):
            for pattern in patterns:
                try:
                    found = any(re.search(pattern, name) for name in names)
                except re.error as error:
                    raise UsageError(f"{option} '{pattern}' is not a regular expression: {error}") from error
                if not found:
                    raise UsageError(f"{option} '{pattern}' matches no node; `onnxcomp inspect` lists the names")

    def refusal(self, site: Site) -> Declined | None:
        """Why `site` may not be touched, or None."""
        names = [label(node) for node in site.nodes]
        for pattern in self.exclude:
            if any(re.search(pattern, name) for name in names):
                return Declined(site.name, f"excluded by '{pattern}'")
        if self.include and not any(re.search(p, name) for p in self.include for name in names):
            return Declined(site.name, "not included")
        return None


@dataclass(frozen=True, eq=False)
class PassManager:
    """An ordered list of passes."""

    passes: tuple[Pass, ...]

    @classmethod
    def parse(cls, pipeline: str) -> "PassManager":
        """From pipeline text such as `fold-batchnorm,sparse-conv{when=always}`. UsageError says what is wrong where."""
        from onnxcomp.catalogue import installed  # the catalogue imports this module

        return cls(tuple(build(name, options, installed()) for name, options in parse_pipeline(pipeline)))

    def fit(self, *, portable: bool) -> "PassManager":
        """Without the passes that gain nothing where only standard operators may be used, if `portable`."""
        return PassManager(tuple(p for p in self.passes if p.portable)) if portable else self

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
        reproducer was written). Raises PassError naming the pass, the node and the passes that ran before.
        """
        from onnxcomp.planner import cheapest

        context = context or _context(model, data)
        selection = selection or Selection()
        selection.validate(model)
        results: list[PassResult] = []
        for one in self.passes:
            try:
                model, result = _run(one, model, context, choose or cheapest, selection, progress)
            except UsageError:
                raise
            except Exception as error:
                ran = ", ".join(r.name for r in results) or "none"
                hint = f"; {on_failure(model, one)}" if on_failure else ""
                raise PassError(f"pass {one.name} failed: {error} (passes before it: {ran}){hint}") from error
            results.append(result)
        return Run(model, tuple(results))


def _context(model: Model, data: object) -> Context:
    """Surroundings from `data` (anything `open_data` takes), or seeded inputs where it is None."""
    specs = input_specs(model)
    return Context.on_data(model, random_data(specs) if data is None else open_data(data, specs))


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
    chosen: list[tuple[Site, Candidate]] = []
    for done, site in enumerate(sites):
        progress(one.name, done, len(sites))
        pick = _pick(one, site, context, choose)
        if isinstance(pick, Candidate):
            chosen.append((site, pick))
        else:
            declined.append(pick)
    applied = [_apply(one, model, site, candidate, context) for site, candidate in chosen]
    removed = model.sweep() if applied else []
    if applied:
        model.graph.toposort()
        model.check()
    progress(one.name, len(sites), len(sites))
    options = one.options.model_dump()
    result = PassResult(one.name, options, perf_counter() - start, tuple(applied), tuple(declined), tuple(removed))
    return (model if applied else before), result


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


def _pick(one: Pass, site: Site, context: Context, choose: Chooser) -> Candidate | Declined:
    with _naming(site):
        proposals = list(one.propose(site, context))
    candidates = [p for p in proposals if isinstance(p, Candidate)]
    if candidates:
        return choose(one.name, site, candidates)
    refusals = [p for p in proposals if isinstance(p, Declined)]
    return refusals[0] if refusals else Declined(site.name, "nothing to propose")


def _apply(one: Pass, model: Model, site: Site, candidate: Candidate, context: Context) -> Applied:
    covers = tuple(str(node.outputs[0].name) for node in site.nodes)
    with _naming(site):
        error = context.rewrite_error(candidate.before, candidate.after)
        if error is not None and not error <= MAX_REWRITE_ERROR:
            raise OnnxcompError(f"the rewrite's outputs are off by {error:.1e} (relative L2)")
        name = site.name
        one.apply(model, site, candidate)
    return Applied(name, covers[0], covers, candidate, error)


@contextmanager
def _naming(site: Site) -> Iterator[None]:
    """Name the node in whatever goes wrong there."""
    name = site.name
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        what = str(error) if isinstance(error, OnnxcompError) else f"{type(error).__name__}: {error}"
        raise OnnxcompError(f"node '{name}': {what}") from error


_NAME = re.compile(r"\s*([A-Za-z][\w-]*)\s*")


def parse_pipeline(text: str) -> list[tuple[str, dict[str, str]]]:
    """Pipeline text as (pass name, options as text). UsageError with the position of what cannot be read."""
    steps: list[tuple[str, dict[str, str]]] = []
    at = 0
    while True:
        name = _NAME.match(text, at)
        if not name:
            raise UsageError(f"--passes: a pass's name is expected at position {at + 1} of '{text}'")
        at = name.end()
        options: dict[str, str] = {}
        if text[at : at + 1] == "{":
            end = text.find("}", at)
            if end < 0:
                raise UsageError(f"--passes: '{{' at position {at + 1} of '{text}' is never closed")
            for item in filter(None, (part.strip() for part in text[at + 1 : end].split(","))):
                key, equals, value = (part.strip() for part in item.partition("="))
                if not equals or not key:
                    raise UsageError(f"--passes: '{item}' is not key=value")
                if key in options:
                    raise UsageError(f"--passes: option '{key}' of {name[1]} is given twice")
                options[key] = value
            at = end + 1
        steps.append((name[1], options))
        rest = text[at:].lstrip()
        if not rest:
            return steps
        if rest[0] != ",":
            raise UsageError(f"--passes: ',' or the end is expected at position {len(text) - len(rest) + 1} of '{text}'")
        at = len(text) - len(rest) + 1


def build(name: str, options: Mapping[str, str], catalogue: Mapping[str, type[Pass]]) -> Pass:
    """The pass `name` of `catalogue` with `options` given as text. UsageError names what is unknown or wrong."""
    kind = catalogue.get(name)
    if kind is None:
        raise UsageError(f"unknown pass '{name}'; installed: {', '.join(catalogue)}")
    try:
        return kind(kind.Options.model_validate(dict(options)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "options"
        if first["type"] == "extra_forbidden":
            known = ", ".join(kind.Options.model_fields) or "none"
            raise UsageError(f"pass {name} has no option '{where}'; it has: {known}") from error
        raise UsageError(f"pass {name}, option '{where}': {first['msg']}") from error
