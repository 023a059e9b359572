"""Moments of layers' inputs: what NumPy makes of the same activations, streamed, chosen and paired."""

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper, parser

from onnxcomp.calibration import Data, open_data
from onnxcomp.calibration.columns import ConvColumns
from onnxcomp.calibration.moments import Moments, layer_moments
from onnxcomp.calibration.taps import Taps
from onnxcomp.errors import DataError, ModelError
from onnxcomp.model import Model
from onnxcomp.numerics.moments import target, weighted_error

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 4, 9, 8] x, float[6, 4, 3, 3] unknown) => (float[N, R] out)
<float[6, 4, 3, 3] w1, float[6] b1, float[8, 3, 1, 1] w2, float[5, 160] w3, float[5] b3, float[5, 3] w4>
{
    c1 = Conv<pads = [1, 1, 1, 1], strides = [2, 2]> (x, w1, b1)
    r1 = Relu(c1)
    c2 = Conv<group = 2> (r1, w2)
    f = Flatten(c2)
    g3 = Gemm<transB = 1, beta = 0.5> (f, w3, b3)
    m4 = MatMul(g3, w4)
    out = Softmax(m4)
    odd = Conv(x, unknown)
}
"""
LAYERS = ["c1", "c2", "g3", "m4"]


def network(scale: float = 1.0) -> Model:
    """Conv, grouped Conv, Gemm and MatMul; `scale` is the first Conv's."""
    proto: ModelProto = parser.parse_model(TEXT)
    rng = np.random.default_rng(0)
    del proto.graph.initializer[:]
    for name, shape in {"w1": (6, 4, 3, 3), "b1": 6, "w2": (8, 3, 1, 1), "w3": (5, 160), "b3": 5, "w4": (5, 3)}.items():
        value = rng.standard_normal(shape).astype(np.float32) * (scale if name == "w1" else 1)
        proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
    return Model.from_proto(proto)


def samples(count: int = 7) -> Data:
    rng = np.random.default_rng(1)
    feed = {"x": rng.standard_normal((count, 4, 9, 8), np.float32)}
    return open_data(feed, [("x", np.float32, ["N", 4, 9, 8])])


@pytest.fixture(scope="module")
def model() -> Model:
    return network()


@pytest.fixture(scope="module")
def activations(model: Model) -> dict[str, np.ndarray]:
    feed = next(samples().batches(7))
    return dict(Taps(without_unknown(model), ["x", "r1", "f", *LAYERS]).read(feed))


def without_unknown(model: Model) -> Model:
    """The model with nothing to feed but x."""
    cut = model.clone()
    cut.graph.inputs = cut.graph.inputs[:1]
    cut.sweep()
    return cut


def gathered(model: Model, **options: object) -> dict[str, Moments]:
    """Of all layers, in as many passes over the samples as it takes."""
    found: dict[str, Moments] = {}
    while len(found) < len(LAYERS):
        found |= layer_moments(without_unknown(model), LAYERS[len(found) :], samples(), **options)
    return found


def columns_of(name: str, activations: dict[str, np.ndarray]) -> np.ndarray:
    """The columns (n, group, Q) of a layer."""
    if name == "c1":
        return ConvColumns.of({"pads": [1, 1, 1, 1], "strides": [2, 2]}, (3, 3)).inputs(activations["x"], None)
    if name == "c2":
        return ConvColumns.of({"group": 2}, (1, 1)).inputs(activations["r1"], None)
    return activations["f" if name == "g3" else "g3"][:, None]


@pytest.mark.parametrize("options", [{}, {"batch": 2, "max_bytes": 1}])
def test_moments_are_those_of_the_activations(
    model: Model, activations: dict[str, np.ndarray], options: dict[str, int]
) -> None:
    found = gathered(model, **options)
    assert list(found) == LAYERS
    for name, moments in found.items():
        X = columns_of(name, activations).astype(np.float64)
        scale = np.abs(moments.moment).max()
        np.testing.assert_allclose(moments.moment, np.einsum("ngp,ngq->gpq", X, X) / len(X), atol=1e-6 * scale)
        np.testing.assert_allclose(moments.mean, X.mean(axis=0), atol=1e-5)
        assert moments.columns == len(X) and moments.cross is None


def test_outputs_of_a_reference(activations: dict[str, np.ndarray]) -> None:
    dense, other = network(), network(scale=0.5)
    weights = {"c1": "w1", "c2": "w2", "g3": "w3", "m4": "w4"}
    for name, moments in gathered(other, reference=without_unknown(dense)).items():
        assert moments.cross is not None and moments.output_mean is not None and moments.output_std is not None
        if name == "c1":  # it reads the same input in both
            W = dense.constant(dense.graph.tensors()[weights[name]])
            assert W is not None
            np.testing.assert_allclose(moments.cross[0], W.reshape(6, -1) @ moments.moment[0], atol=1e-4)
            np.testing.assert_allclose(moments.output_mean, W.reshape(6, -1) @ moments.mean[0], atol=1e-5)
        if name == "g3":
            bias = dense.constant(dense.graph.tensors()["b3"])
            y = activations["g3"] - 0.5 * np.asarray(bias)
            np.testing.assert_allclose(moments.output_mean, y.mean(axis=0), atol=1e-4)
            np.testing.assert_allclose(moments.output_std, y.std(axis=0), rtol=1e-4)


def test_the_target_undoes_an_earlier_layer() -> None:
    dense, compressed = without_unknown(network()), without_unknown(tripled(network()))
    moments = layer_moments(compressed, ["c2"], samples(), reference=dense)["c2"]
    W = dense.constant(dense.graph.tensors()["w2"])
    assert W is not None and moments.cross is not None
    wanted = target(moments.cross, moments.moment, W).reshape(W.shape)
    assert weighted_error(W / 3, wanted, moments.moment) < 1e-8


def tripled(model: Model) -> Model:
    """The network with what its first Conv gives, and so what the second one reads, times three."""
    proto = model.to_proto()
    for node in proto.graph.node:
        if node.output[0] == "c1":
            node.output[0] = "c1_one"
    three = numpy_helper.from_array(np.float32(3), "three")
    proto.graph.initializer.append(three)
    proto.graph.node.insert(1, helper.make_node("Mul", ["c1_one", "three"], ["c1"]))
    return Model.from_proto(proto)


def test_chosen_columns_do_not_depend_on_batches(model: Model) -> None:
    some, same, other = (
        gathered(model, max_columns=lambda _: 5, batch=batch, seed=seed) for batch, seed in ((2, 0), (7, 0), (7, 1))
    )
    assert some["c1"].columns == 35 and some["m4"].columns == 7
    np.testing.assert_allclose(some["c1"].moment, same["c1"].moment, atol=1e-5)
    assert not np.allclose(some["c1"].moment, other["c1"].moment, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("r1", "not the output of a Conv"),
        ("nothing", "not the output of a Conv"),
        ("odd", "'unknown' is a graph input"),
    ],
)
def test_layers_that_have_none(model: Model, layer: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        layer_moments(model, [layer], samples())


def test_layers_that_are_too_wide(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcomp.calibration.moments.MAX_LAYER_BYTES", 8 * 36**2)
    assert set(layer_moments(without_unknown(model), LAYERS, samples())) == {"c1", "c2", "m4"}  # but not g3
    with pytest.raises(ModelError, match=r"'g3' has no second moment: it would take 0\.0 GB"):
        layer_moments(model, ["g3"], samples())


def test_references_that_do_not_fit(model: Model) -> None:
    cut = without_unknown(model)
    larger = cut.to_proto()
    larger.graph.node[0].attribute.remove(next(a for a in larger.graph.node[0].attribute if a.name == "strides"))
    with pytest.raises(ModelError, match="another shape"):
        layer_moments(cut, ["c2"], samples(), reference=Model.from_proto(larger))
    with pytest.raises(ModelError, match="no tensor 'r1'"):
        renamed = cut.to_proto()
        for node in renamed.graph.node:
            for names in (node.input, node.output):
                names[:] = ["other" if name == "r1" else name for name in names]
        layer_moments(Model.from_proto(renamed), ["c2"], samples(), reference=cut)


def test_data_that_overflows(model: Model) -> None:
    data = open_data({"x": np.full((1, 4, 9, 8), np.inf, np.float32)}, [("x", np.float32, ["N", 4, 9, 8])])
    with pytest.raises(DataError, match="infinite or no number"):
        layer_moments(without_unknown(model), ["c1"], data)
