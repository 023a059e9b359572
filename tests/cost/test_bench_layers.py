"""`bench --layers`: nodes of several models aligned by the layers of the first."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from onnx import helper, numpy_helper

import onnxcomp
from onnxcomp.bench import bench
from onnxcomp.calibration import data_for
from onnxcomp.cli import main
from onnxcomp.cost.layer_times import LayerTimes, Row, align, chains_of, layer_times
from onnxcomp.cost.measure import RunNode
from onnxcomp.model import Model
from onnxcomp.quantized import quantize
from onnxcomp.runtime.session import session

SIDE, CHANNELS = 8, 16


def residual(folder: Path, *, named: bool = True) -> Path:
    """stem -> Relu -> (left -> BatchNormalization -> Relu -> right) + shortcut -> Relu -> mean -> Gemm; all sparse."""
    rng = np.random.default_rng(0)
    constants: dict[str, NDArray[Any]] = {}
    nodes: list[onnx.NodeProto] = []

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(op, inputs, [output], output + "_node" if named else "", **attributes))

    def conv(x: str, output: str, c_in: int) -> None:
        weight = rng.standard_normal((CHANNELS, c_in, 3, 3), np.float32)
        weight[rng.random(weight.shape) < 0.9] = 0
        constants[f"{output}_w"] = weight
        node("Conv", [x, f"{output}_w"], output, pads=[1] * 4)

    conv("x", "stem", 4)
    node("Relu", ["stem"], "stem_relu")
    conv("stem_relu", "left", CHANNELS)
    for name in ("scale", "shift", "mean", "var"):
        constants[name] = np.ones(CHANNELS, np.float32)
    node("BatchNormalization", ["left", "scale", "shift", "mean", "var"], "left_bn")
    node("Relu", ["left_bn"], "left_relu")
    conv("left_relu", "right", CHANNELS)
    conv("stem_relu", "shortcut", CHANNELS)
    node("Add", ["right", "shortcut"], "sum")
    node("Relu", ["sum"], "sum_relu")
    node("GlobalAveragePool", ["sum_relu"], "mean_map")
    node("Flatten", ["mean_map"], "flat")
    constants["gemm_w"] = rng.standard_normal((CHANNELS, 3), np.float32)
    node("Gemm", ["flat", "gemm_w"], "y")
    x = helper.make_tensor_value_info("x", 1, ["N", 4, SIDE, SIDE])
    y = helper.make_tensor_value_info("y", 1, ["N", 3])
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(v, k) for k, v in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / f"residual{named}.onnx"
    onnx.save(model, path)
    return path


LAYERS = {"stem", "left", "right", "shortcut", "y"}


def of(name: str, named: bool) -> str:
    return name + "_node" if named else name


@pytest.mark.parametrize("named", [True, False])
def test_every_layer_has_a_time_in_every_form(tmp_path: Path, named: bool) -> None:
    path, ours = residual(tmp_path, named=named), tmp_path / "ours.onnx"
    onnxcomp.optimize(path, ours, passes="fold-batchnorm,sparse-conv{when=always}", threads=1)
    feed = {"x": np.random.default_rng(1).standard_normal((1, 4, SIDE, SIDE), np.float32)}
    int8 = quantize(path, [feed], tmp_path)
    models = [path, ours, int8]
    times = layer_times(models, feed, 1, seconds=0, min_rounds=2)
    assert {row.name for row in times.layers} == {of(name, named) for name in LAYERS}
    assert all(ms is not None and ms >= 0 for row in times.layers for ms in row.ms)
    assert not {"Conv", "SparseConv", "QLinearConv", "Gemm", "QGemm"} & {row.name for row in times.other}
    for index in range(len(models)):
        parts = sum(row.ms[index] or 0 for row in (*times.layers, *times.other))
        assert parts == pytest.approx(times.total.ms[index])


def test_chains_end_where_a_tensor_is_read_twice(tmp_path: Path) -> None:
    chains = chains_of(Model.load(residual(tmp_path)))
    assert chains["stem_node"] == ["stem", "stem_relu"]
    assert chains["left_node"] == ["left", "left_bn", "left_relu"]
    assert chains["right_node"] == ["right", "sum", "sum_relu"]
    assert chains["shortcut_node"] == ["shortcut", "sum", "sum_relu"]


def times(**nodes: tuple[str, float]) -> dict[RunNode, float]:
    return {RunNode(name, op, index): ms for index, (name, (op, ms)) in enumerate(nodes.items())}


CHAINS = {"a": ["t1", "sum"], "b": ["t2", "sum"]}


def test_the_nearest_layer_takes_a_shared_sum() -> None:
    found = align(CHAINS, [times(sum_nchwc=("Conv", 2.0), t1_nchwc=("Conv", 1.0))])
    assert {row.name: row.ms for row in found.layers} == {"a": (1.0,), "b": (2.0,)}


def test_names_that_onnx_runtime_changes() -> None:
    fused = {RunNode("fused a", "FusedConv", 0): 1.0, RunNode("b/MatMulAddFusion", "Gemm", 1): 2.0}
    found = align(CHAINS, [fused, times(a_token_12=("QLinearConv", 3.0), b=("SparseConvRelu", 4.0))])
    assert found.layers == (Row("a", (1.0, 3.0)), Row("b", (2.0, 4.0)))


def test_what_only_one_model_has() -> None:
    first = times(a=("Conv", 1.0), p=("MaxPool", 0.5), q=("MaxPool", 0.25))
    second = times(a=("Conv", 0.5), new=("Conv", 0.25), r=("ReorderOutput", 0.125))
    found = align(CHAINS, [first, second])
    assert found == LayerTimes(
        (Row("a", (1.0, 0.5)), Row("new", (None, 0.25))),
        (Row("MaxPool", (0.75, None)), Row("ReorderOutput", (None, 0.125))),
        Row("total", (1.75, 0.875)),
    )
    assert found.layers[0].ratio(1) == 2 and found.layers[1].ratio(1) is None


def test_not_asked_for(tmp_path: Path) -> None:
    path = residual(tmp_path)
    result = bench([path], data_for(session(path, 1), None), threads=1, seconds=0, min_rounds=2)
    assert result.layers is None and result.to_json()["layers"] is None


def test_command(tmp_path: Path) -> None:
    path, out = residual(tmp_path), tmp_path / "out.json"
    arguments = ["bench", str(path), str(path), "--layers", "--seconds", "0.01", "--json", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    for text in ("stem_node", "GlobalAveragePool", "total", "A/B", f"A: {path.name}", f"B: {path.name}"):
        assert text in result.stdout
    layers = json.loads(out.read_text())["layers"]
    assert [len(row["ms"]) for row in layers["layers"]] == [2] * len(LAYERS)
    assert layers["total"]["name"] == "total" and layers["other"]
