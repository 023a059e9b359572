"""What a pass may ask about times: whose fault it is where a fragment cannot be measured."""

import numpy as np
import pytest

from onnxcomp.context import Context, NotRunnable
from onnxcomp.errors import ModelError
from onnxcomp.fragment import Fragment
from tests.passes.graphs import model_of

CHANNELS = 3
TEXT = "net (float[1, 3, 4, 4] x, float[N, 3] free) => (float[1, 2, 4, 4] y) { y = Conv (x, w) }"


def context() -> Context:
    return Context(model_of(TEXT, {"w": np.ones((2, CHANNELS, 1, 1), np.float32)}), {"x": (1, CHANNELS, 4, 4)})


def conv(one: Context, channels: int = CHANNELS, reads: str = "x") -> Fragment:
    """The model's, but for what it reads: ONNX Runtime refuses another number of channels than the input has."""
    good = Fragment.of(one.model, one.model.graph.nodes)
    good.nodes[0].input[0] = reads
    return Fragment(good.nodes, {"w": np.ones((2, channels, 1, 1), np.float32)}, (reads,), good.outputs)


def test_measures_what_runs() -> None:
    one = context()
    timing = one.measure(conv(one), conv(one))
    assert timing is not None and timing.before_ms > 0 and timing.after_ms > 0


def test_what_stands_in_the_graph_and_does_not_run_is_a_finding() -> None:
    one = context()
    with pytest.raises(NotRunnable, match="kernel channels: 4"):
        one.measure(conv(one, CHANNELS + 1), conv(one))
    with pytest.raises(NotRunnable, match="'free' is not known"):
        one.measure(conv(one, reads="free"), conv(one))


def test_a_rewrite_that_does_not_run_is_a_fault() -> None:
    one = context()
    with pytest.raises(ModelError):
        one.measure(conv(one), conv(one, CHANNELS + 1))
