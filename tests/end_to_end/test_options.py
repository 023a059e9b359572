"""What the options of `optimize` change in the file that is written."""

import os
from pathlib import Path

import onnx
import pytest

import onnxcomp as package
from onnxcomp.pass_manager import PassManager
from tests.end_to_end.small import ALWAYS, onnxcomp, save_network


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save_network(tmp_path / "in.onnx")


def test_dry_run_writes_nothing(source: Path) -> None:
    before = source.read_bytes()
    for target in ([], [source], [source.with_name("out.onnx")]):
        result = onnxcomp("optimize", source, *target, "--dry-run", "--passes", ALWAYS)
        assert result.exit_code == 0
        assert "dry run, nothing written" in result.stdout
    assert os.listdir(source.parent) == ["in.onnx"]
    assert source.read_bytes() == before


def test_portable_leaves_standard_operators_only(source: Path) -> None:
    target = source.with_name("out.onnx")
    assert onnxcomp("optimize", source, target, "--portable").exit_code == 0
    assert b"ai.onnxcomp" not in target.read_bytes()
    model = onnx.load(target)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert len(model.functions) == 0
    assert {node.domain for node in model.graph.node} == {""}
    assert target.stat().st_size < source.stat().st_size
    assert onnxcomp("verify", source, target, "--rtol", 0, "--atol", 0).exit_code == 0  # decoding gives the same bits


@pytest.mark.parametrize(
    ("include", "exclude", "rewritten"),
    [
        ((), (), {"first", "head"}),
        (("^first$",), (), {"first"}),
        (("first|second", "head"), (), {"first", "head"}),
        ((), ("^f",), {"head"}),
        (("first",), ("first",), set()),
    ],
)
def test_include_and_exclude(
    include: tuple[str, ...], exclude: tuple[str, ...], rewritten: set[str], source: Path
) -> None:
    result = package.optimize(source, passes=ALWAYS, include=include, exclude=exclude)
    assert {layer.name for layer in result.report.layers if layer.method != "dense"} == rewritten
    assert all(layer.reason for layer in result.report.layers if layer.method == "dense")


def test_an_excluded_epilogue_keeps_its_convolution_dense(source: Path) -> None:
    """`act` would go into `first`; the weight may still be stored smaller."""
    target = source.with_name("out.onnx")
    assert onnxcomp("optimize", source, target, "--passes", ALWAYS, "--exclude", "^act$").exit_code == 0
    ops = [node.op_type for node in onnx.load(target).graph.node]
    assert ops.count("Relu") == 1 and ops.count("SparseWeight") == 2


def test_the_package_as_readme_has_it(source: Path) -> None:
    result = package.optimize(source, source.with_name("out.onnx"), passes=ALWAYS)
    run = PassManager.parse(ALWAYS).run(package.load(source))
    assert run.model.to_proto() == result.model.to_proto() == onnx.load(source.with_name("out.onnx"))
    session = package.session(source.with_name("out.onnx"), threads=1)
    assert [output.name for output in session.get_outputs()] == ["y"]
