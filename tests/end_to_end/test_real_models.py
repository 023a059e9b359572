"""Trained networks and the onnx package's topologies: equal outputs, the same envelope, a reason for every layer."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnx.backend.test
import onnx.inliner
import pytest

import onnxcomp
from onnxcomp import Result
from onnxcomp.calibration import data_for
from onnxcomp.context import relative_l2
from onnxcomp.runtime.session import run, session
from tests.conftest import SHARED

LIGHT = Path(onnx.backend.test.__file__).parent / "data" / "light"
# 61 to 144 million weights, computed when a session loads: up to 2 GB, a minute or more.
HEAVY = {"light_bvlc_alexnet", "light_vgg19", "light_zfnet512"}
MODELS = [
    pytest.param(path, id=path.stem, marks=pytest.mark.large if path.stem in HEAVY else ())
    for path in (*sorted((SHARED / "models").glob("*.onnx")), *sorted(LIGHT.glob("*.onnx")))
]
TOLERANCE = 1e-5  # relative L2: float32 sums in another order, over some fifty layers
IMAGES = 100
GROWTH_BYTES = 4096  # nodes in place of one; a computed weight that gets stored is hundreds of times that
Optimized = Callable[[Path], tuple[Path, Result]]


@pytest.fixture(scope="module")
def optimized(tmp_path_factory: pytest.TempPathFactory) -> Optimized:
    """Optimizes a file with the defaults, once: the output and the result."""
    done: dict[Path, tuple[Path, Result]] = {}

    def optimize(source: Path) -> tuple[Path, Result]:
        if source not in done:
            target = tmp_path_factory.mktemp("optimized") / source.name
            done[source] = target, onnxcomp.optimize(source, target)
        return done[source]

    return optimize


@pytest.mark.parametrize("source", MODELS)
def test_a_real_model(source: Path, optimized: Optimized) -> None:
    target, result = optimized(source)
    assert result.report.exit == 0
    assert result.report.verify["passed"]
    assert target.stat().st_size <= source.stat().st_size + GROWTH_BYTES
    assert_same_envelope(onnx.load(source), onnx.load(target), result.report.notes)
    assert_every_layer_told(onnx.load(source), result)
    assert_equal(source, target)


def assert_same_envelope(before: onnx.ModelProto, after: onnx.ModelProto, notes: tuple[str, ...]) -> None:
    """Interface, metadata, opset and IR as they were; what was raised is in the notes."""
    assert given(before) == given(after)
    assert list(before.graph.output) == list(after.graph.output)
    for field in ("producer_name", "producer_version", "domain", "doc_string", "model_version", "metadata_props"):
        assert getattr(before, field) == getattr(after, field), field
    assert before.graph.name == after.graph.name
    opsets = [{o.domain: o.version for o in model.opset_import} for model in (before, after)]
    opsets[1].pop("ai.onnxcomp", None)
    assert opsets[0] == opsets[1] or any(note.startswith("opset raised") for note in notes)
    assert before.ir_version == after.ir_version or any(note.startswith("IR version raised") for note in notes)


def given(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs; before IR 4, initializers had to be listed among them and were constants all the same."""
    constants = {tensor.name for tensor in model.graph.initializer} if model.ir_version < 4 else set()
    return [value for value in model.graph.input if value.name not in constants]


def assert_every_layer_told(model: onnx.ModelProto, result: Result) -> None:
    """The report has every Conv, and each layer was changed or says why not."""
    told = {layer.name for layer in result.report.layers}
    assert {node.name or node.output[0] for node in model.graph.node if node.op_type == "Conv"} <= told
    assert [layer.name for layer in result.report.layers if layer.method == "dense" and not layer.reason] == []


def assert_equal(source: Path, target: Path) -> None:
    """The same outputs in plain ONNX Runtime and with the library, on an input that optimizing did not see."""
    plain = session(source, library=False)
    feed = data_for(plain, None, seed=7).one()
    expected = run(plain, feed)
    for library in (True, False):
        for got, want in zip(run(session(target, library=library), feed), expected, strict=True):
            assert relative_l2(got, want) <= TOLERANCE


def test_caffenet_shrinks_to_a_sixth(shared: Path, optimized: Optimized) -> None:
    source = shared / "models" / "caffenet_sparse_convs.onnx"
    target, result = optimized(source)
    assert target.stat().st_size <= 0.16 * source.stat().st_size
    assert all(output["rel_l2"] <= TOLERANCE for output in result.report.verify["outputs"])


def test_squeezenet_classifies_every_image_as_before(shared: Path, optimized: Optimized) -> None:
    name = "squeezenet1_0_deepcompressed_imagenet"
    source = shared / "models" / f"{name}.onnx"
    target, _ = optimized(source)
    assert target.stat().st_size <= 0.2 * source.stat().st_size
    evalpack = load_evalpack(shared)
    with np.load(shared / "data" / "imagenet_sample.npz") as sample:
        some = {"jpeg": sample["jpeg"], "offsets": sample["offsets"][: IMAGES + 1]}
    images = evalpack.MODELS[name][1](np.stack(evalpack.jpegs(some)))
    before = ranking(source, images, library=False)
    for library in (True, False):
        after = ranking(target, images, library)
        np.testing.assert_array_equal(after[:, 0], before[:, 0])
        np.testing.assert_array_equal(np.sort(after), np.sort(before))


def test_deep_compression_keeps_every_bit(shared: Path, optimized: Optimized, tmp_path: Path) -> None:
    """A pruned network of at most 256 values a layer: no weight changes, whether layers become sparse or stay dense."""
    source = shared / "models" / "squeezenet1_0_deepcompressed_imagenet.onnx"
    smallest = tmp_path / "smallest.onnx"
    onnxcomp.optimize(source, smallest, goal="size", passes="codebook,sparse-weight")
    assert smallest.stat().st_size <= 0.13 * source.stat().st_size
    for target in (optimized(source)[0], smallest):
        assert kernels(target) == kernels(source)
        assert_equal(source, target)


def kernels(path: Path) -> list[tuple[tuple[int, ...], bytes]]:
    """Shape and bytes of every Conv's weight, as plain ONNX Runtime decodes it, sorted."""
    model = onnx.inliner.inline_local_functions(onnx.load(path))
    names = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    plain = session(model.SerializeToString(), library=False)
    weights = run(plain, data_for(plain, None, seed=0).one())
    return sorted((weight.shape, weight.tobytes()) for weight in weights)


def load_evalpack(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("evalpack", shared / "evalpack.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ranking(path: Path, images: np.ndarray, library: bool) -> np.ndarray:
    """The five best classes of each image, best first."""
    loaded = session(path, library=library)
    name = loaded.get_inputs()[0].name
    batches = np.array_split(images, len(images) // 10)
    scores = np.concatenate([run(loaded, {name: batch})[0] for batch in batches]).reshape(len(images), -1)
    return np.argsort(-scores, axis=1)[:, :5]
