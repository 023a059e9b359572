"""Every network script: the published size, a graph that runs, and zeros where they were asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from alexnet import ALEXNET
from mobilenet_v2 import MOBILENET_V2
from resnet18 import RESNET18, RESNET18_CIFAR
from resnet20 import RESNET20
from resnet32 import RESNET32
from resnet50 import RESNET50
from resnet56 import RESNET56
from squeezenet1_0 import SQUEEZENET1_0
from squeezenet1_1 import SQUEEZENET1_1
from vgg16 import VGG16
from zoo.builder import Builder, BuildError, Recipe
from zoo.command import Architecture
from zoo.weights import BLOCK_HEIGHTS

# Parameters and multiply-adds as published with the reference implementations of these networks.
PUBLISHED = {
    ALEXNET: (61_100_840, 0.714e9),
    VGG16: (138_357_544, 15.47e9),
    RESNET18: (11_689_512, 1.814e9),
    RESNET18_CIFAR: (11_173_962, 0.5554e9),
    RESNET50: (25_557_032, 4.089e9),
    RESNET20: (269_722, 40.55e6),
    RESNET32: (464_154, 68.86e6),
    RESNET56: (853_018, 125.49e6),
    MOBILENET_V2: (3_504_872, 300.8e6),
    SQUEEZENET1_0: (1_248_424, 0.819e9),
    SQUEEZENET1_1: (1_235_496, 0.349e9),
}
NETWORKS = pytest.mark.parametrize("network", PUBLISHED, ids=lambda network: network.name)


def initializers(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def weights(model: onnx.ModelProto, op: str) -> Iterator[NDArray[np.float32]]:
    arrays = initializers(model)
    return (arrays[node.input[1]] for node in model.graph.node if node.op_type == op)


def run(model: onnx.ModelProto, images: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"input": images})
    return np.asarray(logits)


def noise(count: int, size: int) -> NDArray[np.float32]:
    return np.random.default_rng(7).standard_normal((count, 3, size, size), dtype=np.float32)


def trained_numbers(model: onnx.ModelProto) -> int:
    """Weights, biases, scales and shifts; not the statistics, which are a BatchNormalization's last two inputs."""
    arrays = initializers(model)
    names = {
        name
        for node in model.graph.node
        if node.op_type in {"Conv", "Gemm", "BatchNormalization"}
        for name in node.input[1:3]
    }
    return sum(arrays[name].size for name in names)


def multiply_adds(model: onnx.ModelProto) -> int:
    """Of one image, from the shapes that ONNX infers."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*graph.value_info, *graph.output]
    }
    arrays = initializers(model)
    return sum(
        arrays[node.input[1]].size * math.prod(shapes[node.output[0]][2:])
        for node in graph.node
        if node.op_type in {"Conv", "Gemm"}
    )


@NETWORKS
def test_size_is_the_published_one(network: Architecture) -> None:
    parameters, macs = PUBLISHED[network]
    model, cost = network.build()
    assert trained_numbers(model) == cost.parameters == parameters
    assert multiply_adds(model) == cost.macs == pytest.approx(macs, rel=1e-3)
    assert cost.zeros == 0


@NETWORKS
def test_interface(network: Architecture) -> None:
    size = min(network.image_size, 64)
    model, _ = network.build(image_size=size)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    (image,), (logits,) = model.graph.input, model.graph.output
    assert (image.name, logits.name) == ("input", "logits")
    assert [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim] == ["N", 3, size, size]
    assert [dim.dim_param or dim.dim_value for dim in logits.type.tensor_type.shape.dim] == ["N", network.classes]


@NETWORKS
@pytest.mark.parametrize("sparsity", [0.0, 0.9])
def test_signals_neither_explode_nor_vanish(network: Architecture, sparsity: float) -> None:
    size = min(network.image_size, 64)
    model, _ = network.build(Recipe(sparsity=sparsity), image_size=size)
    logits = run(model, noise(5, size))
    assert logits.shape == (5, network.classes)
    assert 0.03 < np.std(logits) < 30
    assert np.std(logits - logits.mean(axis=0)) > 0.01, "the logits do not depend on the image"


@pytest.mark.parametrize("network", [ALEXNET, RESNET18, RESNET20, MOBILENET_V2, SQUEEZENET1_0], ids=lambda n: n.name)
def test_sample_takes_the_values_that_the_runtime_computes(network: Architecture) -> None:
    builder = Builder(Recipe(sparsity=0.5), image_size=64, normalised=network.normalised)
    logits = network.layers(builder, builder.image, 10)
    computed = run(builder.finish("sampled", logits, {}), builder.image.value.astype(np.float32))
    assert np.linalg.norm(computed - logits.value) < 1e-4 * np.linalg.norm(logits.value)


@pytest.mark.parametrize("network", [RESNET20, RESNET50, MOBILENET_V2], ids=lambda network: network.name)
def test_folded_form_computes_the_same(network: Architecture) -> None:
    separate, _ = network.build(Recipe(sparsity=0.5), image_size=32)
    folded, _ = network.build(Recipe(sparsity=0.5, batchnorm=False), image_size=32)
    assert "BatchNormalization" not in {node.op_type for node in folded.graph.node}
    assert "BatchNormalization" in {node.op_type for node in separate.graph.node}
    images = noise(2, 32)
    expected = run(separate, images)
    assert np.linalg.norm(run(folded, images) - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("network", [RESNET20, SQUEEZENET1_1], ids=lambda network: network.name)
def test_same_recipe_gives_same_bytes(network: Architecture) -> None:
    def content(seed: int) -> bytes:
        model, _ = network.build(Recipe(seed=seed, sparsity=0.8), image_size=64)
        return bytes(model.SerializeToString(deterministic=True))

    assert content(3) == content(3)
    assert content(3) != content(4)


def test_sparse_network_keeps_the_dense_weights() -> None:
    dense, _ = RESNET20.build(Recipe(seed=5))
    sparse, _ = RESNET20.build(Recipe(seed=5, sparsity=0.75))
    for before, after in zip(list(weights(dense, "Conv"))[1:], list(weights(sparse, "Conv"))[1:], strict=True):
        kept = after != 0
        np.testing.assert_allclose(after[kept], 2 * before[kept], rtol=1e-5)


@pytest.mark.parametrize("pattern", BLOCK_HEIGHTS)
@pytest.mark.parametrize("batchnorm", [True, False])
def test_zeros_are_exact_and_in_blocks(pattern: str, batchnorm: bool) -> None:
    model, cost = RESNET20.build(Recipe(sparsity=0.9, pattern=pattern, batchnorm=batchnorm))
    first, *others = weights(model, "Conv")
    (gemm,) = weights(model, "Gemm")
    assert np.all(first != 0)
    assert np.all(gemm != 0)
    height = BLOCK_HEIGHTS[pattern]
    for weight in others:
        blocks = (weight == 0).reshape(-1, height, *weight.shape[1:])
        assert np.array_equal(blocks.all(axis=1), blocks.any(axis=1))
        assert np.count_nonzero(blocks[:, 0]) == round(0.9 * blocks[:, 0].size)
    assert cost.zeros == sum(np.count_nonzero(weight == 0) for weight in others)


@pytest.mark.parametrize("n", [1, 2, 15])
def test_n_of_every_16_input_channels_are_kept(n: int) -> None:
    recipe = Recipe(sparsity=1 - n / 16, pattern=f"{n}:16", include_first=True, fully_connected=True)
    model, cost = RESNET20.build(recipe)
    first, *convs = weights(model, "Conv")
    assert np.all(first != 0), "three channels make no window"
    others = [*convs, *weights(model, "Gemm")]
    for weight in others:
        windows = (weight != 0).reshape(len(weight), -1, 16, *weight.shape[2:])
        assert np.all(windows.sum(axis=2) == n)
    places = (convs[-1] != 0).reshape(-1, 16, 9).any(axis=(0, 2))
    assert np.all(places), "a place of the window is never kept"
    assert cost.zeros == sum(np.count_nonzero(weight == 0) for weight in others)


def test_layers_without_whole_windows_stay_dense() -> None:
    model, _ = MOBILENET_V2.build(Recipe(sparsity=0.75, pattern="4:16"), image_size=64)
    for weight in list(weights(model, "Conv"))[1:]:
        assert np.mean(weight == 0) == (0.75 if weight.shape[1] % 16 == 0 else 0)


@pytest.mark.parametrize("sparsity", [0.0, 0.75, 0.9])
def test_a_pattern_with_its_own_zeros_takes_no_other_share(sparsity: float) -> None:
    with pytest.raises(BuildError, match=f"2:16 is a sparsity of 0.875, not {sparsity:g}"):
        Recipe(sparsity=sparsity, pattern="2:16")


def test_last_block_of_a_column_may_be_short() -> None:
    model, _ = SQUEEZENET1_1.build(Recipe(sparsity=0.5, pattern="16x1"), image_size=64, classes=10)
    zero = list(weights(model, "Conv"))[-1] == 0
    assert np.array_equal(zero.all(axis=0), zero.any(axis=0))
    assert np.count_nonzero(zero[0]) == zero[0].size // 2


def test_depthwise_layers_stay_dense() -> None:
    model, _ = MOBILENET_V2.build(Recipe(sparsity=0.9), image_size=64)
    shares: dict[bool, list[float]] = {True: [], False: []}
    for weight in list(weights(model, "Conv"))[1:]:
        shares[weight.shape[1] == 1].append(float(np.mean(weight == 0)))
    assert len(shares[True]) == 17
    assert max(shares[True]) == 0
    assert min(shares[False]) > 0.89


def test_first_conv_and_gemm_on_request() -> None:
    model, _ = RESNET20.build(Recipe(sparsity=0.5, include_first=True, fully_connected=True))
    for weight in [*weights(model, "Conv"), *weights(model, "Gemm")]:
        assert np.count_nonzero(weight == 0) == weight.size // 2


def test_all_zero_is_finite() -> None:
    model, _ = RESNET20.build(Recipe(sparsity=1.0))
    assert np.all(np.isfinite(run(model, noise(2, 32))))


def test_too_small_image_is_refused() -> None:
    with pytest.raises(BuildError, match="image is too small"):
        ALEXNET.build(image_size=20)


def test_recipe_is_in_the_metadata() -> None:
    model, _ = RESNET20.build(Recipe(seed=11, sparsity=0.25, pattern="4x1"))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["network"] == "resnet20"
    assert (metadata["seed"], metadata["sparsity"], metadata["pattern"]) == ("11", "0.25", "4x1")
