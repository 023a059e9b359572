"""`bench`: the figures of each model, answers compared, and faults told."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from onnxcomp.bench import BenchResult, bench
from onnxcomp.calibration import Data, open_data
from onnxcomp.cost.memory import peak_rss_bytes
from onnxcomp.cost.size import file_bytes
from onnxcomp.errors import ModelError, OnnxcompError, UsageError

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'


def save(folder: Path, name: str, body: str = "y = Add(x, x)", head: str = "float[N, 3] x") -> Path:
    path = folder / name
    path.write_bytes(parser.parse_model(f"{HEAD} g ({head}) => (float[N, 3] y) {{ {body} }}").SerializeToString())
    return path


def data() -> Data:
    x = np.random.default_rng(0).standard_normal((10, 3))
    return open_data({"x": x}, [("x", np.float32, ["N", 3])])


def quick(*paths: Path, **options: object) -> BenchResult:
    return bench(paths, data(), threads=1, seconds=0, min_rounds=2, library=False, **options)


def test_equal_models(tmp_path: Path) -> None:
    paths = save(tmp_path, "a.onnx"), save(tmp_path, "b.onnx")
    result = quick(*paths, batch=4)
    assert (result.batch, result.threads, result.rounds, result.library) == (4, 1, 2, False)
    a, b = result.models
    assert a.speedup == 1 and b.speedup > 0
    for found, path in zip(result.models, paths, strict=True):
        assert found.path == str(path) and found.file_bytes == path.stat().st_size
        assert 0 < found.median_ms <= found.p95_ms and found.load_ms > 0
        assert found.rss_bytes > 10 << 20
        assert found.rel_l2 == 0 and found.note is None


def test_json_has_the_names_of_the_contract(tmp_path: Path) -> None:
    found = json.loads(json.dumps(quick(save(tmp_path, "a.onnx")).to_json(), allow_nan=False))
    assert found["schema"] == 1 and {"cpu", "isa", "threads", "onnxruntime"} <= set(found["host"])
    wanted = {"path", "median_ms", "p95_ms", "speedup", "load_ms", "rss_bytes", "file_bytes"}
    assert wanted <= set(found["models"][0])


def test_other_answers_are_said(tmp_path: Path) -> None:
    sides = save(tmp_path, "a.onnx"), save(tmp_path, "b.onnx", "y = Neg(x)")
    _, b = quick(*sides).models
    assert b.rel_l2 == pytest.approx(1.5) and "output 'y': relative L2 error 1.5 is above 0.001" in (b.note or "")
    assert quick(*sides, max_error=2).models[1].note is None


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    quick(save(tmp_path, "a.onnx"), progress=told.append)
    assert told == ["loading", "timing", "comparing answers", "measuring memory"]


def test_faults(tmp_path: Path) -> None:
    good = save(tmp_path, "a.onnx")
    with pytest.raises(UsageError, match="nothing to measure"):
        quick()
    with pytest.raises(ModelError, match=r"gone\.onnx: no such file"):
        quick(good, tmp_path / "gone.onnx")
    with pytest.raises(ModelError, match=r"z\.onnx: nothing to feed its input 'z'"):
        quick(good, save(tmp_path, "z.onnx", "y = Neg(z)", "float[N, 3] z"))


def external(folder: Path, megabytes: int) -> Path:
    """A model whose one weight lies in a file beside it."""
    weight = numpy_helper.from_array(np.ones((megabytes << 18, 1), np.float32), "w")
    sizes = [helper.make_tensor_value_info("x", 1, [1, 1]), helper.make_tensor_value_info("y", 1, [megabytes << 18, 1])]
    graph = helper.make_graph([helper.make_node("MatMul", ["w", "x"], ["y"])], "g", sizes[:1], sizes[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path = folder / f"external{megabytes}.onnx"
    onnx.save(model, path, save_as_external_data=True, location=f"weights{megabytes}.bin", size_threshold=0)
    return path


def test_external_data_counts(tmp_path: Path) -> None:
    path = external(tmp_path, 1)
    assert file_bytes(path) == path.stat().st_size + (1 << 20)
    with pytest.raises(ModelError, match=r"weights1\.bin: cannot be read: No such file"):
        (tmp_path / "weights1.bin").unlink()
        file_bytes(path)


def test_external_data_of_branches_and_functions(tmp_path: Path) -> None:
    def stored(name: str) -> onnx.TensorProto:
        (tmp_path / name).write_bytes(bytes(12))
        tensor = onnx.TensorProto(name=name, data_type=1, dims=[3], data_location=onnx.TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=name)
        return tensor

    branch = helper.make_graph(
        [helper.make_node("Identity", ["in"], ["out"])], "b", [], [helper.make_tensor_value_info("out", 1, [3])]
    )
    branch.initializer.append(stored("in"))
    empty = helper.make_graph([helper.make_node("Constant", [], ["c"], value=stored("constant"))], "b", [], [])
    choose = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=empty)
    graph = helper.make_graph([choose], "g", [], [])
    body = [helper.make_node("Constant", [], ["o"], value=stored("function"))]
    function = helper.make_function("d", "F", [], ["o"], body, [helper.make_opsetid("", 13)])
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, functions=[function]).SerializeToString())
    assert file_bytes(path) == path.stat().st_size + 3 * 12


def test_files_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\xff" * 50)
    with pytest.raises(ModelError, match=r"m\.onnx: not an ONNX model"):
        file_bytes(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"gone\.onnx: cannot be read"):
        file_bytes(tmp_path / "gone.onnx")


def test_peak_memory_is_the_childs_own(tmp_path: Path) -> None:
    ballast = np.ones(1 << 29, np.uint8)  # half a gigabyte of ours, which the child must not count
    small, large = (
        peak_rss_bytes(external(tmp_path, megabytes), {"x": np.ones((1, 1), np.float32)}, threads=1, library=False)
        for megabytes in (1, 96)
    )
    assert ballast.nbytes > large > small + (90 << 20)


def test_inputs_may_have_any_name(tmp_path: Path) -> None:
    names = ["file", "allow_pickle", "a/b", "arr_0"]
    values = [helper.make_tensor_value_info(name, 1, [2]) for name in names]
    graph = helper.make_graph(
        [helper.make_node("Sum", names, ["y"])], "g", values, [helper.make_tensor_value_info("y", 1, [2])]
    )
    path = tmp_path / "m.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    )
    assert peak_rss_bytes(path, {name: np.ones(2, np.float32) for name in names}, 1, library=False) > 0


def test_a_process_that_fails_is_told(tmp_path: Path) -> None:
    path = save(tmp_path, "a.onnx")
    with pytest.raises(OnnxcompError, match=r"a\.onnx: a fresh process cannot load and run it: .*Expected: 3"):
        peak_rss_bytes(path, {"x": np.ones((1, 4), np.float32)}, 1, library=False)
