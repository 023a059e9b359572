"""The Conv cases of ONNX's backend tests, each forced through sparse-conv; run as a program, the results as JSON.

A process of its own, since the instruction set is fixed when the library loads (ONNXCOMP_ISA). The weight, and the bias
where there is one, become initializers; the first input stays the only one.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests

from onnxcomp.model import Model
from onnxcomp.pass_manager import PassManager
from onnxcomp.runtime.session import run, session

PIPELINE = "sparse-conv{when=always,min_zeros=0}"
_STORED = ("pytorch-converted", "pytorch-operator", "simple")  # the package's folders with small models and data


@dataclass(frozen=True)
class Outcome:
    """What became of one case. `errors`: the largest |y - expected| / tolerance, with the library and without."""

    name: str
    dimensions: int
    ops: tuple[str, ...]
    declined: tuple[str, ...]
    errors: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """A model of one Conv with constant weights, its input and the expected output."""

    name: str
    model: ModelProto
    feed: dict[str, NDArray[Any]]
    expected: NDArray[Any]


def cases() -> Iterator[Case]:
    """Every case that is one Conv: those the package computes, then those it stores."""
    for case in _computed():
        for inputs, outputs in case.data_sets:
            yield _with_constants(case.name, case.model, list(inputs), outputs[0])
    for case in _stored():
        place = Path(case.model_dir)
        model = onnx.load(place / "model.onnx")
        for folder in sorted(place.glob("test_data_set_*")) if _is_conv(model) else ():
            inputs = [_array(file) for file in sorted(folder.glob("input_*.pb"))]
            yield _with_constants(case.name, model, inputs, _array(folder / "output_0.pb"))


def _computed() -> list[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other operators' cases overflow on purpose
        return [case for case in collect_testcases("Conv") if case.model and _is_conv(case.model)]


def _stored() -> list[Any]:
    return [case for kind in _STORED for case in load_model_tests(kind=kind)]


def _is_conv(model: ModelProto) -> bool:
    return [node.op_type for node in model.graph.node] == ["Conv"]


def _array(path: Path) -> NDArray[Any]:
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def _with_constants(name: str, model: ModelProto, values: list[NDArray[Any]], expected: NDArray[Any]) -> Case:
    """All inputs of the Conv but the first as initializers, whether the case stores them or feeds them."""
    graph = model.graph
    first = graph.input[0].name
    fed = dict(zip((i.name for i in graph.input), values, strict=False))
    graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in fed.items() if key != first)
    del graph.input[1:]
    model.ir_version = max(model.ir_version, 4)  # before, initializers had to be inputs
    return Case(name, model, {first: fed[first]}, expected)


def tolerance(case: Case) -> float:
    """Bound of the distance between two float32 results of the case.

    Each sums k products and the bias in an order of its own: eps * (k + 1) * (k max|w| max|x| + max|b|) for either.
    """
    weight, *bias = (numpy_helper.to_array(tensor) for tensor in case.model.graph.initializer)
    (x,) = case.feed.values()
    k = weight[0].size
    largest = k * np.abs(weight).max() * np.abs(x).max() + (np.abs(bias[0]).max() if bias else 0)
    return float(2 * np.finfo(np.float32).eps * (k + 1) * largest)


def outcome(case: Case) -> Outcome:
    """Rewrite, run with the library and without, compare with what the case expects."""
    done = PassManager.parse(PIPELINE).run(Model.from_proto(case.model), data=case.feed)
    model = done.model.to_proto().SerializeToString()
    results = [run(session(model, 1, library), case.feed)[0] for library in (True, False)]
    limit = tolerance(case)
    errors = [
        float(np.abs(y.astype(np.float64) - case.expected).max()) / limit if y.shape == case.expected.shape else np.inf
        for y in results
    ]
    reasons = tuple(declined.reason for declined in done.passes[0].declined)
    ops = tuple(node.op for node in done.model.graph.nodes)
    return Outcome(case.name, case.feed[next(iter(case.feed))].ndim - 2, ops, reasons, tuple(errors))


if __name__ == "__main__":
    json.dump([asdict(outcome(case)) for case in cases()], sys.stdout)
