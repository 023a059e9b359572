"""`bench --int8`: the first model quantised, measured beside the others, its error told and not held against it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import FunctionProto, helper, numpy_helper, parser

from onnxcomp import quantized
from onnxcomp.bench import BenchResult, bench
from onnxcomp.calibration import Data, open_data
from onnxcomp.cli import main
from onnxcomp.cost.host import Host
from onnxcomp.errors import ModelError
from onnxcomp.formats import bitmap, functions, sparse_conv
from onnxcomp.quantized import CALIBRATION_SAMPLES, quantize

SHAPE = (3, 8, 8)
RNG = np.random.default_rng(0)
WEIGHT = np.where(RNG.random((16, 3, 3, 3)) < 0.7, 0, RNG.standard_normal((16, 3, 3, 3))).astype(np.float32)


def network(folder: Path, *, opset: int = 17, sparse: bool = False, named: bool = True) -> Path:
    """A Conv, dense or ours, a Relu and a mean over the map: logits of 16 classes."""
    constants: dict[str, NDArray[Any]] = {"B": np.zeros(16, np.float32), "unused": np.ones(3, np.float32)}
    bodies: list[FunctionProto] = []
    name = "conv" if named else ""
    if sparse:
        stored = bitmap.encode(WEIGHT)
        constants |= {"mask": stored.mask, "values": stored.values}
        plain = sparse_conv.Epilogue()
        conv = sparse_conv.node(plain, ["x", "mask", "values", "B"], "c", WEIGHT.shape, name, pads=[1] * 4)
        bodies = [sparse_conv.function(plain, opset)]
    else:
        constants |= {"W": WEIGHT}
        conv = helper.make_node("Conv", ["x", "W", "B"], ["c"], name, pads=[1] * 4)
    nodes = [conv, helper.make_node("Relu", ["c"], ["r"]), helper.make_node("GlobalAveragePool", ["r"], ["y"])]
    x = helper.make_tensor_value_info("x", 1, ["N", *SHAPE])
    y = helper.make_tensor_value_info("y", 1, ["N", 16, 1, 1])
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(v, k) for k, v in constants.items()])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(functions.DOMAIN, functions.DOMAIN_VERSION)]
    path = folder / f"net{opset}{sparse}{named}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, functions=bodies, ir_version=8), path)
    return path


def data(count: int = 20) -> Data:
    x = np.random.default_rng(1).standard_normal((count, *SHAPE), np.float32)
    return open_data({"x": x}, [("x", np.float32, ["N", *SHAPE])])


def quick(*paths: Path, samples: int = 20, **options: Any) -> BenchResult:
    return bench(paths, data(samples), threads=1, seconds=0, min_rounds=2, int8=True, **options)


@pytest.mark.parametrize(("opset", "sparse", "named"), [(17, False, True), (17, True, True), (11, False, False)])
def test_quantised_beside_the_others(tmp_path: Path, opset: int, sparse: bool, named: bool) -> None:
    path = network(tmp_path, opset=opset, sparse=sparse, named=named)
    result = quick(path, path)
    assert [model.int8 for model in result.models] == [False, False, True]
    int8 = result.models[2]
    assert int8.path == str(path) and int8.median_ms > 0 and int8.file_bytes > 0
    assert int8.note is None
    # 8 bits keep about 1 % of each activation and weight; exactly nothing lost would be the float model again.
    assert int8.rel_l2 is not None and 1e-4 < int8.rel_l2 < 0.1
    assert int8.argmax_agreement is not None and int8.argmax_agreement >= 0.5
    assert result.compared == CALIBRATION_SAMPLES and result.batch == 1


@pytest.mark.parametrize(("features", "largest"), [((), 64), (("avx512_vnni",), 127), (("asimd",), 127)])
def test_weights_are_int8_by_channel_and_activations_uint8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features: tuple[str, ...], largest: int
) -> None:
    monkeypatch.setattr(quantized, "host", lambda: Host("a CPU", "avx2", 1, "", features))
    graph = onnx.load(quantize(network(tmp_path), data().batches(1), tmp_path)).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weight = next(array for array in arrays.values() if array.shape == WEIGHT.shape)
    assert weight.dtype == np.int8
    scales = next(a for name, a in arrays.items() if "W" in name and name.endswith("scale"))
    np.testing.assert_allclose(scales, np.abs(WEIGHT).max(axis=(1, 2, 3)) / largest, rtol=1e-2)
    points = [arrays[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert points and all(point.dtype == np.uint8 for point in points)


def test_weights_of_a_large_model_lie_outside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantized, "_LARGE_BYTES", 0)
    result = quick(network(tmp_path))
    assert result.models[1].rel_l2 is not None and 1e-4 < result.models[1].rel_l2 < 0.1


def test_fewer_samples_than_calibration_wants(tmp_path: Path) -> None:
    assert quick(network(tmp_path), samples=3, batch=2).compared == 3


def test_no_more_samples_than_calibration_wants_are_read(tmp_path: Path) -> None:
    assert quick(network(tmp_path), samples=40, batch=32).compared == CALIBRATION_SAMPLES


def test_nothing_to_quantise_is_told(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N, 3, 8, 8] x) => (float[N, 3, 8, 8] y) { y = Sin(x) }'
    path = tmp_path / "sin.onnx"
    onnx.save(parser.parse_model(text), path)
    with pytest.raises(ModelError, match=r"sin\.onnx: ONNX Runtime finds nothing in it to quantise"):
        quick(path)


def test_a_quantiser_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("no\nscale")

    monkeypatch.setattr(quantized, "quantize_static", broken)
    result = CliRunner().invoke(main, ["bench", str(network(tmp_path)), "--int8", "--seconds", "0.01"])
    assert result.exit_code == 2
    assert "cannot quantise it to int8" in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_command(tmp_path: Path) -> None:
    path, out = network(tmp_path), tmp_path / "out.json"
    result = CliRunner().invoke(main, ["bench", str(path), "--int8", "--seconds", "0.01", "--json", str(out)])
    assert result.exit_code == 0, result.stderr
    assert f"{path.name} (int8): on 16 inputs relative L2 error" in result.stdout
    first, int8 = json.loads(out.read_text())["models"]
    assert (first["int8"], int8["int8"]) == (False, True) and 0 < int8["argmax_agreement"] <= 1
