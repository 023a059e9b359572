"""Milliseconds: of whole models side by side, and of the nodes inside them."""

import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic_core import from_json

from onnxcomp.cost.turns import WARM_UP, take_turns
from onnxcomp.errors import ModelError
from onnxcomp.runtime.session import Feed, name_of, run, session

Source = str | Path | bytes
_KERNEL_TIME = "_kernel_time"
_PROFILED_CALLS = 4  # of a turn: reading the profile of a call takes longer than a small model's call
_ALIGNMENT = 64  # bytes, as ORT aligns its own tensors; a kernel's vector loads depend on it


@dataclass(frozen=True)
class RunNode:
    """A node of the graph that ORT really runs. A Conv in its blocked layout is called `<its output>_nchwc`."""

    name: str
    op: str
    index: int  # tells unnamed ones apart


def measure(
    models: Sequence[Source],
    feed: Feed,
    threads: int | None = None,
    min_rounds: int = 10,
    seconds: float = 2.0,
    library: bool = True,
) -> list[float]:
    """Median milliseconds of a run of each model, taken in turns (turns.py) on the same `feed`.

    A model takes from `feed` the inputs it has. Raises ModelError where one cannot be loaded or run.
    """
    sessions = [session(model, threads, library, alone=False) for model in models]
    calls = [bound(s, feed, name_of(model)) for s, model in zip(sessions, models, strict=True)]
    return [times.median_ms for times in take_turns(calls, seconds, min_rounds)]


def bound(session: ort.InferenceSession, feed: Feed, name: str = "model") -> Callable[[], object]:
    """A call that runs `session` on `feed` with inputs and outputs bound once, so that it times the model alone.

    Runs it once. Raises ModelError where that fails or an input is not in `feed`. Outputs that are no tensors cannot
    be bound; such a model is run the ordinary way.
    """
    missing = [node.name for node in session.get_inputs() if node.name not in feed]
    if missing:
        raise ModelError(f"{name}: nothing to feed its input '{missing[0]}'; models are compared on the same inputs")
    own = {node.name: aligned(feed[node.name]) for node in session.get_inputs()}
    run(session, own, name)
    if not all(node.type.startswith("tensor(") for node in session.get_outputs()):
        return partial(session.run, None, own)
    binding = session.io_binding()
    values = [ort.OrtValue.ortvalue_from_numpy(array) for array in own.values()]
    for key, value in zip(own, values, strict=True):
        binding.bind_ortvalue_input(key, value)
    for node in session.get_outputs():
        binding.bind_output(node.name, "cpu")
    return BoundCall(session, binding, tuple(values))


@dataclass(frozen=True)
class BoundCall:
    """Runs a binding, and keeps its inputs: the binding itself holds no reference to the arrays it reads."""

    session: ort.InferenceSession
    binding: Any
    inputs: tuple[Any, ...]

    def __call__(self) -> None:
        self.session.run_with_iobinding(self.binding)


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """A copy whose data starts where ORT's own would: NumPy promises 16 bytes only."""
    buffer = np.empty(array.nbytes + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    copy = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def node_times(
    models: Sequence[Source],
    feed: Feed,
    threads: int | None = None,
    min_rounds: int = 20,
    seconds: float = 0.0,
    library: bool = True,
) -> list[dict[RunNode, float]]:
    """Median milliseconds of every node of each model, run in turns on the same `feed`, from ORT's profiler.

    Steps are a microsecond. Nodes are those of the graph that ORT runs, after its own fusions and conversions.
    Raises ModelError where a model cannot be loaded or run.
    """
    profiles, _ = _profiles(models, feed, threads, library, min_rounds, seconds)
    return [{node: float(np.median(times[1:] or times)) for node, times in one.items()} for one in profiles]


def node_rounds(
    models: Sequence[Source],
    feed: Feed,
    threads: int | None = None,
    rounds: int = 20,
    library: bool = True,
    hopeless: float = math.inf,
) -> list[dict[RunNode, NDArray[np.float64]]]:
    """The same of models without branches and loops, round by round: of a turn's calls the median.

    There are fewer rounds where the last of them takes `hopeless` times as long as the first.
    """
    profiles, done = _profiles(models, feed, threads, library, rounds, hopeless=hopeless)
    return [{node: _by_turns(times, done) for node, times in one.items()} for one in profiles]


def _by_turns(times: Sequence[float], rounds: int) -> NDArray[np.float64]:
    """The median of each turn of a node that runs once a call."""
    turns = np.array_split(np.array(times[1 + WARM_UP :]), rounds)  # `bound` runs a model once
    return np.array([np.median(turn[1:] if len(turn) > 1 else turn) for turn in turns])


def _profiles(
    models: Sequence[Source],
    feed: Feed,
    threads: int | None,
    library: bool,
    min_rounds: int,
    seconds: float = 0.0,
    hopeless: float = math.inf,
) -> tuple[list[dict[RunNode, list[float]]], int]:
    """Milliseconds of every node of each model, call by call, as they take turns, and how many rounds of these."""
    with tempfile.TemporaryDirectory(prefix="onnxcomp-") as folder:
        sessions = [
            session(model, threads, library, profile=Path(folder) / str(index), alone=False)
            for index, model in enumerate(models)
        ]
        calls = [bound(s, feed, name_of(model)) for s, model in zip(sessions, models, strict=True)]
        times = take_turns(calls, seconds, min_rounds, most_calls=_PROFILED_CALLS, hopeless=hopeless)
        return [_read_profile(Path(s.end_profiling())) for s in sessions], len(times[0].rounds)


def conv_ms(times: Mapping[RunNode, float]) -> float:
    """Milliseconds of the convolutions alone, dense or ours, out of a model's `node_times`.

    In a model of one Conv, ORT converts its input and output between NCHW and its blocked layout, which inside a
    network of such layers it does not: those reorders would make the dense layer look slower than it is there.
    """
    return sum(ms for node, ms in times.items() if "Conv" in node.op)


def _read_profile(path: Path) -> dict[RunNode, list[float]]:
    """Nodes in running order, with the times of all their runs."""
    runs: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in from_json(path.read_bytes()):  # a search reads half a gigabyte of them
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL_TIME):
            known = event["args"]
            runs[event["name"], known["op_name"], known["node_index"]].append(event["dur"] / 1e3)
    return {
        RunNode(name.removesuffix(_KERNEL_TIME), op, int(index)): times for (name, op, index), times in runs.items()
    }
