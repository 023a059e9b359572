"""What is told of layers in blocks of one magnitude, in operators, stored, or only found; and of damaged ones."""

import numpy as np
import pytest

from onnxcomp.analysis import Layer, layers_of
from onnxcomp.errors import ModelError
from onnxcomp.model import Model
from tests.passes.factors import network
from tests.passes.graphs import model_of, rewrite, sparse
from tests.runtime.unified_models import random_weight

WEIGHT = random_weight((16, 16, 3, 3), (4, 4), zero=0.5)
POSITIONS = 9 * 9


def layer_of(model: Model, pipeline: str | None = None) -> Layer:
    done = model if pipeline is None else rewrite(model, pipeline)[0].model
    output = done.graph.outputs[0]
    (layer,) = layers_of(done, {output.name: (1, 16, 9, 9), "c": (1, 16, 9, 9), "y": (1, 16, 9, 9)})
    return layer


@pytest.mark.parametrize("pipeline", ["unify{when=always}", "unified-weight", None])
def test_what_is_told(pipeline: str | None) -> None:
    layer = layer_of(network(WEIGHT, "pads = [1, 1, 1, 1]"), pipeline)
    nonzero = int(np.count_nonzero(WEIGHT))
    assert "unified 4x4 blocks" in layer.structure
    assert (layer.shape, layer.nonzero) == (WEIGHT.shape, nonzero)
    dense = POSITIONS * WEIGHT.size
    assert layer.macs == (POSITIONS * nonzero if pipeline == "unify{when=always}" else dense)
    blocks = nonzero // 16
    stored = 144 // 4 + 2 * blocks + 2 * blocks
    assert layer.size_bytes == (stored if pipeline else WEIGHT.nbytes)


def test_levels_are_told() -> None:
    layer = layer_of(network(random_weight((16, 16, 3, 3), (8, 1), (1.0, 0.5, 0.0))))
    assert layer.structure.endswith("unified 8x1 blocks at 1, 0.5, 0")


def test_a_fully_connected_layer() -> None:
    weight = random_weight((32, 64), (4, 4), zero=0.5)
    text = "net (float[N, 64] x) => (float[N, 32] y) {\n[fc] y = Gemm <transB = 1> (x, w)\n}"
    done, _ = rewrite(model_of(text, {"w": weight}), "unify{when=always}")
    (layer,) = layers_of(done.model, {"y": (3, 32)})
    assert (layer.op, layer.macs) == ("UnifiedGemm", 3 * np.count_nonzero(weight))


def test_zeros_at_random_are_not_told_as_blocks() -> None:
    assert "unified" not in layer_of(network(sparse((16, 16, 3, 3), 0.9))).structure


@pytest.mark.parametrize("pipeline", ["unify{when=always}", "unified-weight"])
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("levels", [3.0, -1.0], "fall from 1"),
        ("levels", "1", "no list of numbers"),
        ("block", [4], "no list of sizes 'block'"),
        ("block", [3, 4], "do not divide"),
        ("weight_shape", [16, 16, 3, 4], "bytes, 192 blocks need"),
    ],
)
def test_damaged_layers_are_named(pipeline: str, name: str, value: object, reason: str) -> None:
    done, _ = rewrite(network(WEIGHT), pipeline)
    done.model.graph.nodes[0].attrs[name] = value
    with pytest.raises(ModelError, match=reason):
        layers_of(done.model, {})
