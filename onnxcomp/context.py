"""What a pass may know while it proposes: shapes, element types, and measured times on this machine."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnxcomp.alike import work_of
from onnxcomp.calibration import Data
from onnxcomp.cost.host import host
from onnxcomp.cost.host_profile import HostProfile
from onnxcomp.cost.layout import Layouts, block_size
from onnxcomp.cost.profile_cache import kept_profile, machine_words
from onnxcomp.cost.reorders import Reorder, reorder_times
from onnxcomp.cost.shapes import concrete_types
from onnxcomp.cost.turns import paired_medians
from onnxcomp.cost.waking import rounds_inside
from onnxcomp.errors import ModelError, OnnxcompError
from onnxcomp.fragment import Fragment
from onnxcomp.layerwise import Layerwise
from onnxcomp.model import Model
from onnxcomp.prediction import predicted_ms
from onnxcomp.runtime.session import run, session
from onnxcomp.sensitivity import OutputChange, samples_for
from onnxcomp.store import Shelf, Store
from onnxcomp.surroundings import border_of, fed, inner, surrounded
from onnxcomp.version import VERSION
from onnxcomp.workers import Workers

T = TypeVar("T")
_ROUNDS = 16  # of a measurement: a search makes hundreds
_HOPELESS = 1.25  # times as long as what stands there: it is not worth more than a few rounds to know by how much


class NotRunnable(OnnxcompError):  # noqa: N818 - a finding, not a fault
    """What stands in the graph does not run in this ONNX Runtime, so nothing can be measured against it or proved."""


@dataclass(frozen=True)
class Timing:
    """A fragment's nodes before and after, interleaved medians in milliseconds."""

    before_ms: float  # without the layout conversions around blocked nodes, as after_ms where these stay blocked
    after_ms: float
    predicted_ms: tuple[float, float] | None = None  # the same by the cost model, where the machine's profile is known


@dataclass(frozen=True, eq=False)
class Context:
    """The surroundings of a proposal."""

    model: Model
    input_shapes: Mapping[str, tuple[int, ...]]  # of one call, by graph input
    threads: int | None = None  # None: ONNX Runtime's default here
    seed: int = 0
    measuring: bool = True  # False while a plan is replayed: its choices need no times
    profile: HostProfile | None = None  # of this machine, where one was measured
    timings: dict[str, Timing] = field(default_factory=dict)  # by what takes the same time, shared by a run's contexts
    findings: dict[str, Any] = field(default_factory=dict)  # of searches, by what was searched, shared likewise
    reorders: dict[tuple[int, ...], Reorder] = field(default_factory=dict)  # by shape, shared likewise
    portable: bool = False  # standard operators only
    goal: Literal["latency", "size"] = "latency"  # what is to become less
    data: Data | None = None  # the user's, to fit what approximates; None: there is none
    store: Store | None = None  # what earlier runs found out; None: nothing is kept
    workers: Workers | None = None  # other processes for what takes long; None: this one
    layerwise: Layerwise | None = None  # of the pass that runs, where there is data

    @classmethod
    def on_data(
        cls,
        model: Model,
        data: Data,
        threads: int | None = None,
        seed: int = 0,
        measuring: bool = True,
        *,
        portable: bool = False,
        goal: Literal["latency", "size"] = "latency",
        fitting: bool = False,
        store: Store | None = None,
        workers: Workers | None = None,
    ) -> "Context":
        """For `model` on samples of `data`, one at a time, with the machine's profile where one is kept.

        `fitting`: what changes weights is fitted to the data.
        """
        shapes = {name: array.shape for name, array in data.one().items()}
        profile = kept_profile(threads)
        return cls(
            model,
            shapes,
            threads,
            seed,
            measuring,
            profile,
            portable=portable,
            goal=goal,
            data=data if fitting else None,
            store=store,
            workers=workers,
        )

    def on(self, model: Model) -> "Context":
        """The same surroundings for `model`, as it is before a pass."""
        layerwise = None if self.data is None else Layerwise(model, self.data, self.threads, self.seed)
        return replace(self, model=model, layerwise=layerwise)

    @cached_property
    def digest(self) -> str | None:
        """Of the model: equal content, equal digest. None where it is too large to be put into one message."""
        try:
            message = self.model.to_proto()
        except ModelError:
            return None
        return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()

    def shelf(self, kind: type[T], purpose: str) -> Shelf[T]:
        """Where values are kept that this version finds of this model, on this data and machine, to some `purpose`."""
        if self.digest is None:  # nothing is kept of it
            return Shelf(None, "", kind)
        data = "" if self.data is None else self.data.hash
        where = (
            VERSION,
            self.digest,
            data,
            machine_words(self.threads),
            dict(self.input_shapes),
            self.seed,
            self.portable,
        )
        return Shelf(self.store, repr((*where, purpose)), kind)

    @cached_property
    def output_change(self) -> OutputChange:
        """What changes of the model do to its outputs. Only where there is data."""
        assert self.data is not None, "asked for where there is data"
        made = (self.shapes.get(tensor.name, ()) for node in self.model.graph.nodes for tensor in node.outputs)
        return OutputChange(self.model, self.data, self.threads, samples_for(sum(map(prod, made)) // self.batch))

    @property
    def batch(self) -> int:
        """Samples of one call."""
        return next((shape[0] for shape in self.input_shapes.values() if shape), 1)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Concrete shapes by tensor name, where known."""
        return self._types[0]

    @property
    def dtypes(self) -> dict[str, int]:
        """ONNX element types by tensor name, where known."""
        return self._types[1]

    @cached_property
    def layouts(self) -> Layouts:
        """The roles of the model's nodes on this machine."""
        return Layouts(self.model, self.shapes, block_size(host().isa))

    @cached_property
    def _maps(self) -> frozenset[str]:
        """Tensors that ONNX Runtime can have in blocks: of float32 (N, C, H, W), all known."""
        whole = {name for name, shape in self.shapes.items() if len(shape) == 4 and all(shape)}
        return frozenset(name for name in whole if self.dtypes.get(name) == TensorProto.FLOAT)

    @cached_property
    def _types(self) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
        return concrete_types(self.model, self.input_shapes)

    def measure(self, before: Fragment, after: Fragment) -> Timing | None:
        """Both fragments, interleaved, on inputs of the shapes they have here. None while a plan is replayed.

        What takes the same time (alike.py) is measured once.

        Raises NotRunnable where `before` does not run here.
        """
        if not self.measuring:
            return None
        key = " ".join(work_of(fragment, self.shapes, self.dtypes) for fragment in (before, after))
        if key not in self.timings:
            self.timings[key] = self._timed(before, after)
        return self.timings[key]

    def _timed(self, before: Fragment, after: Fragment) -> Timing:
        self._require_shapes(before)
        border = border_of(before, self.layouts) & self._maps
        models = [surrounded(self._alone(before), border), self._alone(after)]
        if after.is_standard:  # what is not reads NCHW, and choices between layouts add the conversions
            models[1] = surrounded(models[1], border)
        feed = fed(self._feed(before), border)
        predicted = predicted_ms(self.profile, before, after, self.shapes)
        try:
            dense, other = map(inner, rounds_inside(models, feed, self.threads, _ROUNDS, hopeless=_HOPELESS))
        except ModelError:
            self._require_runnable(before)  # asked only now: nearly all run, and to ask takes a session
            raise
        alone = np.sum([ms for node, ms in dense.items() if not node.op.startswith("Reorder")], axis=0)
        return Timing(*paired_medians(alone, np.sum(list(other.values()), axis=0)), predicted)

    def once(self, key: str, find: Callable[[], T]) -> T:
        """What `find` returns, called only where nothing was found under `key` before."""
        if key not in self.findings:
            self.findings[key] = find()
        found: T = self.findings[key]
        return found

    def reorder_times(self, shapes: Iterable[tuple[int, ...]]) -> Mapping[tuple[int, ...], Reorder]:
        """What converting tensors of `shapes` between layouts takes, those measured earlier included."""
        new = sorted(set(shapes) - self.reorders.keys())
        if new:
            self.reorders.update(reorder_times(new, self.threads))
        return self.reorders

    def rewrite_error(self, before: Fragment | None, after: Fragment | None) -> float | None:
        """Relative L2 error of `after` against `before`, the larger with the library or without. None for a removal.

        Raises NotRunnable where `before` does not run here.
        """
        if before is None or after is None:
            return None
        expected = self._require_runnable(before)
        feed = self._feed(before)
        model = self._alone(after)
        results = [run(session(model, self.threads, library=library), feed) for library in (True, False)]
        return max(relative_l2(got, want) for outputs in results for got, want in zip(outputs, expected, strict=True))

    def _require_runnable(self, fragment: Fragment) -> list[Any]:
        """The outputs of `fragment` without the library. Raises NotRunnable."""
        self._require_shapes(fragment)
        try:
            return run(session(self._alone(fragment), self.threads, library=False), self._feed(fragment))
        except ModelError as error:
            raise NotRunnable(str(error)) from error

    def _require_shapes(self, fragment: Fragment) -> None:
        unknown = next((name for name in fragment.inputs if 0 in self.shapes.get(name, (0,))), None)
        if unknown is not None:
            raise NotRunnable(f"the shape of '{unknown}' is not known, or empty")

    def _alone(self, fragment: Fragment) -> bytes:
        # The body of a function in `after` may need a newer opset than the model has so far.
        opset = max(
            [self.model.opset, *(o.version for f in fragment.functions for o in f.opset_import if not o.domain)]
        )
        return bytes(fragment.model(self.shapes, self.dtypes, opset).SerializeToString())

    def _feed(self, fragment: Fragment) -> dict[str, NDArray[Any]]:
        rng = np.random.default_rng(self.seed)
        return {
            name: rng.standard_normal(self.shapes[name]).astype(
                helper.tensor_dtype_to_np_dtype(self.dtypes.get(name, TensorProto.FLOAT))
            )
            for name in fragment.inputs
        }


def relative_l2(got: NDArray[Any], want: NDArray[Any]) -> float:
    """|got - want| / |want| in double precision; 0 where both are the same, infinity where only `want` is zero."""
    if got.shape != want.shape:
        return float("inf")
    if np.array_equal(got, want, equal_nan=True):  # whose difference, with Inf or NaN among them, is no number
        return 0.0
    scale = float(np.linalg.norm(want.astype(np.float64)))
    error = float(np.linalg.norm(got.astype(np.float64) - want.astype(np.float64)))
    return error / scale if scale else float("inf")
