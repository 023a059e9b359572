"""A small network whose layers ask for different methods, and the command line in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from onnxcomp.cli import main
from tests.passes.graphs import model_of, sparse

ALWAYS = "drop-identity,fold-batchnorm,sparse-conv{when=always},sparse-weight"
"""Chooses by what is in the weights, never by time: the same on every machine."""

NET = """small (float[N, 16, 14, 14] x) => (float[N, 10] y) {
    [first] a = Conv <pads = [1, 1, 1, 1]> (x, w1, b1)
    [act] r = Relu (a)
    [second] c = Conv (r, w2)
    [pool] p = GlobalAveragePool (c)
    [flat] f = Flatten (p)
    [head] y = Gemm <transB = 1> (f, w3, b3)
}"""


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Time whole networks for a moment only, and let none be slower: these tests ask what is written, not how fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onnxcomp.pipeline.SLOWER", 0.0)
        patch.setattr("onnxcomp.pipeline.MEASURING_SECONDS", 0.01)
        yield


def save_network(path: Path, seed: int = 0) -> Path:
    """`first` and `head` are 90 % zeros, `second` has none."""
    biases = {name: np.arange(n, dtype=np.float32) for name, n in (("b1", 32), ("b3", 10))}
    shapes: dict[str, tuple[tuple[int, ...], float]] = {
        "w1": ((32, 16, 3, 3), 0.9),
        "w2": ((32, 32, 3, 3), 0.0),
        "w3": ((10, 32), 0.9),
    }
    weights = {name: sparse(shape, zeros, seed) for name, (shape, zeros) in shapes.items()}
    model_of(NET, {**weights, **biases}).save(path)
    return path


def onnxcomp(*arguments: Any) -> Result:
    """The result of a command; a traceback in what it prints fails the test."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert "Traceback" not in result.output
    return result


def assert_refused(result: Result, code: int, *words: str) -> None:
    """Nothing on stdout, one line on stderr that has all of `words`."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in result.stderr
