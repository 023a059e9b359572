"""From what a run did to the report on it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import cast

import numpy as np

from onnxcomp.analysis import Layer, layers_of, totals_of
from onnxcomp.bound import Bounded, approximations
from onnxcomp.budget import Held, Speed, Verdict
from onnxcomp.calibration import Data
from onnxcomp.context import Context, Timing
from onnxcomp.convolution import WEIGHTED
from onnxcomp.cost.host import host
from onnxcomp.fragment import Fragment
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate
from onnxcomp.pass_manager import Applied, PassResult
from onnxcomp.plan import Plan
from onnxcomp.report.schema import (
    SCHEMA,
    BudgetSection,
    DataDict,
    DeclinedSection,
    FileSection,
    FrontSection,
    HostSection,
    LatencySection,
    LayerSection,
    PassSection,
    Report,
    SearchSection,
    TrialSection,
    VerifyDict,
)
from onnxcomp.settings import AUTO, Settings
from onnxcomp.verify import Comparison
from onnxcomp.version import VERSION


def build_report(
    model: Model,
    bounded: Bounded,
    verified: Sequence[Comparison],
    speed: Speed | None,
    context: Context,
    source: Path,
    target: Path | None,
    data: Data,
    settings: Settings,
    verdict: Verdict,
    plan: Plan,
    notes: Sequence[str] = (),
) -> Report:
    """The report on turning `model` into that of `bounded`."""
    run = bounded.run
    before = layers_of(model, context.shapes)
    after = layers_of(run.model, context.on(run.model).shapes)
    machine = host(settings.threads)
    return Report(
        schema=SCHEMA,
        version=VERSION,
        exit=verdict.exit,
        input=_file(source, model, before),
        output=_file(target, run.model, after),
        host=HostSection(**machine.to_json()),
        data=cast(DataDict, data.describe()) if settings.data is not None else None,
        layers=_layers(before, after, run.passes),
        passes=tuple(_pass(one) for one in run.passes),
        verify=_verify(verified, run.passes),
        latency=LatencySection(
            before_ms=speed.before_ms if speed else None,
            after_ms=speed.after_ms if speed else None,
            speedup=speed.speedup if speed else 1.0,
            batch=context.batch,
            threads=machine.threads,
        ),
        budget=tuple(_held(one) for one in verdict.held),
        search=_search(bounded, settings),
        command=settings.command(source, target),
        plan=plan.model_dump(mode="json"),
        missed=verdict.missed,
        notes=(*notes, *bounded.notes, *_notes(model, bounded, context, settings), *data.notes),
    )


def _held(one: Held) -> BudgetSection:
    return BudgetSection(
        option=one.option, asked=one.asked, measured=_finite(one.measured), used=_finite(one.used), met=one.met
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _search(bounded: Bounded, settings: Settings) -> SearchSection | None:
    """What a pass with a budget chose from and how far it tried to go; None where there is no such pass."""
    front = next((one.front for one in bounded.run.passes if one.front), None)
    if front is None:
        return None
    tried = [
        TrialSection(
            share=dial.share,
            loss=dial.loss,
            used=_finite(trial.strain),
            reached=trial.reached,
            change=_finite(trial.change),
            holds=trial.holds,
            seconds=trial.seconds,
            chosen=dial == bounded.dial and trial.holds,
        )
        for dial, trial in bounded.trials.items()
    ]
    points = tuple(FrontSection(share=p.share, cost=p.cost, loss=p.loss) for p in front.points)
    return SearchSection(bound=settings.bound, unit=front.unit, front=points, trials=tuple(tried))


def _file(path: Path | None, model: Model, layers: Sequence[Layer]) -> FileSection:
    totals = totals_of(model, layers)
    return FileSection(
        path=None if path is None else str(path),
        bytes=totals.size_bytes,
        parameters=totals.parameters,
        nonzero=totals.nonzero,
        macs=totals.macs,
        opset=totals.opset,
        ir=totals.ir,
    )


def _layers(before: Sequence[Layer], after: Sequence[Layer], passes: Sequence[PassResult]) -> tuple[LayerSection, ...]:
    """A row for every layer of the input. A layer is followed by the tensors its rewrites stood for."""
    applied = [a for one in passes for a in one.applied]
    now = {layer.key: layer for layer in after}
    final = {a.key: a.covers[-1] for a in applied}
    reasons = _reasons(passes)
    timings = {key: timing for one in passes for key, timing in one.timings.items()}
    rows = []
    for layer in before:
        keys = _follow(layer.key, final, now)
        rows.append(_layer(layer, keys, now.get(keys[-1]), applied, reasons, timings))
    return tuple(rows)


def _follow(key: str, final: Mapping[str, str], now: Mapping[str, Layer]) -> list[str]:
    """The names that a layer's output had from pass to pass: of what was fused behind it, from then on."""
    keys = [key]
    while keys[-1] not in now and keys[-1] in final and final[keys[-1]] != keys[-1]:
        keys.append(final[keys[-1]])
    return keys


def _reasons(passes: Sequence[PassResult]) -> dict[str, list[str]]:
    """By node, in the order of the passes; but what a pass with a budget decided is told first."""
    reasons: dict[str, list[str]] = {}
    for one in sorted(passes, key=lambda one: one.front is None):
        for declined in one.declined:
            reasons.setdefault(declined.node, []).append(f"{one.name}: {declined.reason}")
    return reasons


def _layer(
    before: Layer,
    keys: Sequence[str],
    after: Layer | None,
    applied: Sequence[Applied],
    reasons: Mapping[str, Sequence[str]],
    timings: Mapping[str, Timing],
) -> LayerSection:
    """`keys` are what the layer's output was called, `after` the layer that gives the last, where one does."""
    done = [a.candidate for a in applied if not set(keys).isdisjoint(a.covers)]
    after = _factored(before, done) or after or before
    main = max(done, key=_weight_of, default=None)
    timing = next((c.timing for c in done if c.timing is not None), None)
    timed = [found for one in keys if (found := timings.get(one)) is not None]
    why = [reason for name in dict.fromkeys((before.name, after.name)) for reason in reasons.get(name, ())]
    return LayerSection(
        name=before.name,
        op=before.op,
        shape=before.shape,
        method=main.method if main else "dense",
        options=dict(main.options) if main else {},
        reason=None if main and timing else "; ".join(why) or None,
        reasons=tuple(why),
        error=max((c.error for c in done), default=0.0),
        output_error=max((c.output_error for c in done if c.output_error is not None), default=None),
        network_change=max((c.network_change for c in done if c.network_change is not None), default=None),
        parameters=(before.parameters, after.parameters),
        bytes=(before.size_bytes, after.size_bytes),
        macs=(before.macs, after.macs),
        ms=(timing.before_ms, timing.after_ms) if timing else (None, None),
        predicted_ms=next((one.predicted_ms for one in (timing, *timed) if one), None),
    )


def _weight_of(candidate: Candidate) -> tuple[bool, int]:
    """Which of several rewrites of a layer is named: one chosen by time or changing weights, then by bytes saved."""
    before, after = candidate.size_bytes
    return candidate.timing is not None or candidate.error > 0, before - after


def _factored(before: Layer, done: Sequence[Candidate]) -> Layer | None:
    """The layers that the last rewrite into several made of `before`, taken together; None where there is none."""
    for candidate in reversed(done):
        fragment = candidate.after
        if fragment is None or _weighted(candidate.before) > 1 or _weighted(fragment) < 2:
            continue  # `shrink` puts as many layers there as it takes away: each is followed by itself
        numbers = [v for v in fragment.constants.values() if np.issubdtype(v.dtype, np.floating)]
        return replace(
            before,
            macs=candidate.macs[1] if candidate.macs else None,
            parameters=sum(value.size for value in numbers),
            nonzero=sum(int(np.count_nonzero(value)) for value in numbers),
            size_bytes=fragment.size_bytes,
        )
    return None


def _weighted(fragment: Fragment | None) -> int:
    return 0 if fragment is None else sum(node.op_type in WEIGHTED for node in fragment.nodes)


def _pass(one: PassResult) -> PassSection:
    return PassSection(
        name=one.name,
        options=dict(one.options),
        seconds=one.seconds,
        changed=one.changed,
        declined=tuple(DeclinedSection(node=d.node, reason=d.reason) for d in one.declined),
        removed=one.removed,
    )


def _verify(verified: Sequence[Comparison], passes: Sequence[PassResult]) -> VerifyDict:
    """The worse of the comparisons with the library and without; nothing rewritten is equal by construction."""
    errors = [a.rewrite_error for one in passes for a in one.applied if a.rewrite_error is not None]
    worst = max(verified, key=_error, default=None)
    values = worst.to_json() if worst else {"passed": True, "reason": None, "inputs": 0, "outputs": []}
    return cast(VerifyDict, {**values, "rewrite_max_rel_error": max(errors, default=0.0)})


def _error(comparison: Comparison) -> float:
    return max((output.rel_l2 or 0.0 for output in comparison.outputs), default=0.0)


def _notes(model: Model, bounded: Bounded, context: Context, settings: Settings) -> list[str]:
    run = bounded.run
    notes = []
    if run.passes and not run.changed:
        notes.append("nothing was rewritten: the output is the input; every layer's reason is in the list")
    if run.model.opset != model.opset:
        notes.append(f"opset raised from {model.opset} to {run.model.opset}: the new operators' bodies need it")
    if run.model.ir_version != model.ir_version:
        notes.append(f"IR version raised from {model.ir_version} to {run.model.ir_version}: functions need it")
    if context.profile is None and any(one.timings for one in run.passes):
        threads = "" if settings.threads is None else f" --threads {settings.threads}"
        notes.append(f"no predicted times: run `onnxcomp host{threads}` once, which measures this machine")
    if approximations(run):
        if settings.data is None:
            notes.append("without --data stand-ins are near the weights, not the outputs, and cost more accuracy")
    elif settings.pipeline == AUTO and not settings.replay:
        notes.append(
            "only structure that is in the weights already was used; --data with --min-agreement, --max-drop, "
            "--target-speedup or --target-size buys more, at the price of accuracy"
        )
    elif not settings.replay and not bounded.notes and _unspent(bounded, settings):
        notes.append(
            f"nothing was approximated, and nothing of {settings.bound} used: `compress` in --passes would, "
            "and so do options such as penni{d=3}, kronecker{compression=2} and prune{sparsity=0.8}"
        )
    return notes


def _unspent(bounded: Bounded, settings: Settings) -> bool:
    """Accuracy was offered, and no pass is there that spends it on its own; a --max-error may only be a check."""
    offered = settings.min_agreement is not None or settings.max_drop is not None
    return offered and all(one.front is None for one in bounded.run.passes)
