"""`optimize`, the story on one page: load -> rewrite -> verify -> measure -> choose -> save -> report."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from onnxcomp.bound import Attempt, Bounded, Trial, approximations, within_bound
from onnxcomp.budget import MARGIN, Speed, accuracy, judge
from onnxcomp.calibration import Data, open_data, random_data
from onnxcomp.context import Context
from onnxcomp.cost.measure import bound
from onnxcomp.cost.size import file_bytes
from onnxcomp.cost.turns import take_turns
from onnxcomp.dial import Judge, farthest
from onnxcomp.errors import ModelError, OnnxcompError, VerificationFailed
from onnxcomp.inputs import input_specs
from onnxcomp.model import Model
from onnxcomp.pass_api import BudgetPass, Chooser, Pass, Progress
from onnxcomp.pass_manager import PassManager, Run
from onnxcomp.plan import Bounds, Plan, choices_of
from onnxcomp.planner import fastest, unhurried
from onnxcomp.portable import inline_functions
from onnxcomp.report.build import build_report
from onnxcomp.report.schema import Report
from onnxcomp.runtime.session import runs as accepts
from onnxcomp.runtime.session import session
from onnxcomp.selection import Selection
from onnxcomp.settings import Settings
from onnxcomp.store import Store
from onnxcomp.verify import Comparison, Reference, Tolerance
from onnxcomp.version import VERSION
from onnxcomp.workers import workers

RANDOM_SAMPLES = 4  # inputs to verify on where there is no data
SLOWER = 0.97  # of the input's speed: less is more than repeats differ by
_DECIDING = {
    *("max_error", "min_agreement", "max_drop", "metric", "target_speedup", "target_size"),
    *("goal", "include", "exclude"),
}  # what of the settings decides on how far to go, beside what a context knows
MEASURING_SECONDS = 1.5  # of the whole network, for each file in the comparison
_SHORT, _LONGER = 1.15, 4  # what is so little slower than it should be is measured again, so many times as long


@dataclass(frozen=True, eq=False)
class Original:
    """The file that is optimized, which results are compared with and measured against."""

    source: Path
    data: Data
    settings: Settings

    def compared(self, path: Path, *, library: bool = True) -> Comparison:
        """The model at `path`, with the library or without."""
        return self._reference.compare(path, Tolerance(self.settings.tolerance), library=library)

    def speeds(self, paths: Sequence[Path], longer: int = 1) -> list[Speed]:
        """Of the models at `paths`, in turns with the original; so many times `longer` than is usual."""
        every, feed = [self.source, *paths], self.data.one()
        calls = [bound(session(path, self.settings.threads, alone=False), feed, str(path)) for path in every]
        base, *others = take_turns(calls, seconds=longer * MEASURING_SECONDS * len(every), min_rounds=20)
        return [Speed(base.median_ms, times.median_ms, times.speedup(base)) for times in others]

    @cached_property
    def _reference(self) -> Reference:
        return Reference(self.source, self.data, threads=self.settings.threads)


@dataclass(frozen=True, eq=False)
class Result:
    """The optimized model and the report on it."""

    model: Model
    report: Report


@dataclass(frozen=True, eq=False)
class Draft:
    """A candidate for the output: what the passes did, the file it would be, whether it is equal, how fast it is."""

    bounded: Bounded
    path: Path
    verified: tuple[Comparison, ...]  # with the library, then without; empty where nothing was rewritten
    speed: Speed | None  # None where nothing was rewritten

    @property
    def run(self) -> Run:
        """What the passes did."""
        return self.bounded.run

    @property
    def failure(self) -> str | None:
        """Why the draft is not equal to the input, or None."""
        sides = zip(("with", "without"), self.verified, strict=False)
        return next((f"{side} the library: {c.reason}" for side, c in sides if not c.passed), None)


def optimize(
    source: str | Path, target: str | Path | None = None, *, progress: Progress | None = None, **options: Any
) -> Result:
    """Optimize the model at `source`, write it to `target` (nowhere where None), and report.

    `options` are those of the command line with underscores (see `Settings`). Raises UsageError, ModelError or
    DataError for bad input, VerificationFailed where the result is not equal (nothing is written) and NothingGained
    where a gain was required. A missed budget is no exception: the best is saved and `report.exit` is 3.
    """
    settings = Settings.of(**options)
    plan = Plan.read(settings.replay) if settings.replay else None
    if plan:
        settings = plan.asked_of(settings)
    source, target = Path(source), Path(target) if target is not None and not settings.dry_run else None
    tell = progress or (lambda *_: None)
    every = PassManager.parse(plan.passes if plan else settings.pipeline)
    manager = every.fit(portable=settings.portable)
    manager.require_data(given=settings.data is not None)
    left_out = [
        f"{p.name} left out: --portable asks for standard operators only"
        for p in every.passes
        if p not in manager.passes
    ]

    tell("load", 0, 1)
    model = Model.load(source)
    if plan:
        plan.require_input(_sha256(source), source)
    data = open_for(model, source, settings)
    if plan:
        plan.require_data(data)
    with _scratch(target) as folder, workers(settings.jobs, settings.cluster) as others:
        context = Context.on_data(
            model,
            data,
            settings.threads,
            settings.seed,
            measuring=plan is None,
            portable=settings.portable,
            goal=settings.goal,
            fitting=settings.data is not None,
            store=Store() if settings.cache else None,
            workers=others,
        )
        original = Original(source, data, settings)
        unsound = _why_unsound(model)
        if unsound:
            best = _untouched(model, source, f"onnx's checker refuses it: {unsound}")
        else:
            attempt = _attempt(manager, model, context, settings, tell, partial(_reproduce, source, target))
            if plan:
                runs = [plan.repeated(attempt)]
            else:
                asked = _judge(original, folder / "trial.onnx", context, manager)
                runs = _runs(attempt, asked, settings, tell, manager.budgeted)
            best = _settled(original, _best(model, original, runs, folder, tell))
            # A plan decides the bytes by itself: a replay measures, but no timing of its may change what is written.
            if plan is None and settings.goal == "latency" and best.speed and best.speed.speedup < SLOWER:
                best = _untouched(model, source, f"rewritten it would run at {best.speed.speedup:.2f}x its speed here")
        verdict = judge(source, best.path, best.verified, best.speed, data, settings)
    chosen = _plan(source, best.run, manager, settings, data)
    report = build_report(
        model,
        best.bounded,
        best.verified,
        best.speed,
        context,
        source,
        target,
        data,
        settings,
        verdict,
        chosen,
        left_out,
    )
    if target is not None:
        tell("save", 0, 1)
        best.run.model.save(target)
    if settings.plan:
        chosen.write(settings.plan)
    return Result(best.run.model, report)


def open_for(model: Model, source: Path, settings: Settings) -> Data:
    """The user's data, or seeded inputs that the model runs on."""
    specs = input_specs(model)
    if settings.data is not None:
        return open_data(
            settings.data,
            specs,
            image_size=settings.image_size,
            mean=settings.mean,
            std=settings.std,
            layout=settings.layout,
        )
    free = any(not isinstance(d, int) for spec in specs for d in spec.shape[1:])
    probe = partial(accepts, session(source, settings.threads)) if free and not _why_not_run(source, settings) else None
    return random_data(specs, count=RANDOM_SAMPLES, seed=settings.seed, probe=probe)


def _why_not_run(source: Path, settings: Settings) -> str | None:
    """Why ONNX Runtime cannot load the input (an operator of a domain it does not know, say), or None."""
    try:
        session(source, settings.threads)
    except ModelError as error:
        return str(error)
    return None


def _attempt(
    manager: PassManager,
    model: Model,
    context: Context,
    settings: Settings,
    tell: Progress,
    on_failure: Callable[[Model, Pass], str],
) -> Attempt:
    """Runs all passes with the choices of a chooser."""
    selection = Selection(settings.include, settings.exclude)

    def attempt(choose: Chooser) -> Run:
        run = manager.run(model, context, choose=choose, selection=selection, progress=tell, on_failure=on_failure)
        return replace(run, model=inline_functions(run.model)) if settings.portable else run

    return attempt


def _runs(
    attempt: Attempt, asked: Judge, settings: Settings, tell: Progress, budgeted: Sequence[BudgetPass]
) -> list[Bounded]:
    """Different answers of the passes, each within the bound on accuracy, to be tried on the whole network."""
    first = (
        farthest(attempt, fastest, asked, tell, whole=any(one.aimed for one in budgeted))
        if budgeted
        else within_bound(attempt, fastest, asked.strain, settings.bound, tell)
    )
    if not any(a.candidate.timing for p in first.run.passes for a in p.applied):
        return [first]  # nothing was chosen by its time: the other answer is this one
    other = partial(unhurried, dial=first.dial)
    rest = within_bound(attempt, other, asked.strain, settings.bound, tell)
    return [first, replace(rest, dial=first.dial, trials=first.trials)]


def _judge(original: Original, place: Path, context: Context, manager: PassManager) -> Judge:
    """What runs are held against; each is written to `place` for a moment."""
    settings = original.settings
    search = settings.model_dump_json(include=_DECIDING) if isinstance(settings.metric, str | None) else None
    on = context if search else replace(context, store=None)
    return Judge(
        strain=partial(_strain, original, place),
        change=partial(_change, context),
        reached=partial(_reached, original, place) if settings.targeted else None,
        bound=settings.bound,
        loss=None if settings.min_agreement is None else 1 - settings.min_agreement / 100,
        shelf=on.shelf(Trial, f"{manager.text} {search}"),
    )


def _change(context: Context, model: Model) -> float:
    """What `model` does to the outputs; what it takes to tell is made when first asked for."""
    return context.output_change.of(model)


def _reached(original: Original, place: Path, run: Run) -> float:
    """How much of the targets the result of `run` reaches, with a margin for what repeats of a timing differ by."""
    settings = original.settings
    run.model.save(place)
    reached = []
    wanted = settings.target_bytes(file_bytes(original.source))
    if wanted is not None:
        reached.append(wanted / file_bytes(place))
    if settings.target_speedup is not None and min(reached, default=1.0) >= 1:
        (speed,) = original.speeds([place])
        reached.append(speed.speedup / (settings.target_speedup * MARGIN))
    return min(reached)


def _strain(original: Original, place: Path, run: Run) -> float:
    """How much of what the bound on accuracy allows the result of `run`, written to `place` for a moment, uses up."""
    run.model.save(place)
    compared = original.compared(place)
    return accuracy(original.source, place, [compared], original.data, original.settings).strain


def _best(model: Model, original: Original, bounded: Sequence[Bounded], folder: Path, tell: Progress) -> Draft:
    """The fastest of the runs that is equal to the input, each a file measured against it in one interleaved bench.

    Slower ones are looked at only where it is not equal. VerificationFailed where none is.
    """
    source = original.source
    if not any(one.run.changed for one in bounded):
        return Draft(bounded[0], source, (), None)
    reason = _why_not_run(source, original.settings)
    if reason:
        return _untouched(model, source, f"the network as a whole can be neither verified nor measured: {reason}")
    paths = []
    for number, one in enumerate(bounded):
        paths.append(folder / str(number) / source.name)
        paths[-1].parent.mkdir()
        one.run.model.save(paths[-1])
    tell("measure", 0, 1)
    measured = sorted(zip(original.speeds(paths), bounded, paths, strict=True), key=lambda one: -one[0].speedup)
    failures = []
    for number, (speed, one, path) in enumerate(measured):
        tell("verify", number, len(measured))
        verified = tuple(original.compared(path, library=library) for library in (True, False))
        draft = Draft(one, path, verified, speed)
        if draft.failure is None:
            return draft
        failures.append(draft.failure)
    raise VerificationFailed(f"the result is not equal to the input, {failures[0]}; nothing was written")


def _untouched(model: Model, source: Path, reason: str) -> Draft:
    """The input as the answer, with a note that says why."""
    return Draft(Bounded(Run(model, ()), (f"left as it is: {reason}",)), source, (), None)


def _why_unsound(model: Model) -> str | None:
    """What is wrong with the input, so that no pass is blamed for it, or None."""
    try:
        model.check()
    except ModelError as error:
        return str(error)
    return None


def _settled(original: Original, draft: Draft) -> Draft:
    """`draft`, measured once more and for longer where it is a little slower than the speedup that is asked for."""
    asked = original.settings.target_speedup
    if asked is None or draft.speed is None or not draft.speed.speedup < asked <= _SHORT * draft.speed.speedup:
        return draft
    (speed,) = original.speeds([draft.path], _LONGER)
    return replace(draft, speed=speed)


@contextmanager
def _scratch(target: Path | None) -> Iterator[Path]:
    """A folder for drafts, beside the output so that its disk is the one filled; ModelError where none can be made."""
    place = None if target is None else target.parent
    try:
        folder = tempfile.TemporaryDirectory(prefix=".onnxcomp-", dir=place)
    except OSError as error:
        raise ModelError(
            f"{target}: cannot be written: {error.strerror}; give a folder that exists and is writable"
        ) from error
    with folder as name:
        yield Path(name)


def _plan(source: Path, run: Run, manager: PassManager, settings: Settings, data: Data) -> Plan:
    choices = tuple(choice for one in run.passes for choice in choices_of(one.name, one.applied))
    return Plan(
        version=VERSION,
        input_sha256=_sha256(source),
        passes=manager.text,
        portable=settings.portable,
        goal=settings.goal,
        seed=settings.seed,
        data=data.hash if settings.data is not None else None,
        fitted=settings.data is not None and bool(approximations(run)),
        bounds=Bounds.of(settings),
        choices=choices,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reproduce(source: Path, target: Path | None, model: Model, failing: Pass) -> str:
    """Write the model before the failing pass and the command that repeats the failure; says where."""
    try:
        place = None if target is None else target.parent
        folder = Path(tempfile.mkdtemp(prefix=f"{source.stem}-reproducer-", dir=place))
        model.save(folder / "model.onnx")
        command = f"onnxcomp optimize model.onnx out.onnx --passes '{failing.text()}'\n"
        (folder / "command.txt").write_text(command)
    except (OSError, OnnxcompError) as error:
        return f"no reproducer could be written: {error}"
    return f"to repeat it see {folder / 'command.txt'}"
