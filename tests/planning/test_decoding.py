"""Layers whose numbers are stored as ids: what is told of them, and files that are damaged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from onnxcomp.analysis import layers_of, totals_of
from tests.end_to_end.small import assert_refused, onnxcomp
from tests.passes.graphs import model_of, rewrite, sparse

TEXT = "net (float[2, 64] x) => (float[2, 64] y) {\n[fc] y = MatMul (x, w)\n}"
SHAPES = {"x": (2, 64), "y": (2, 64)}


def few(zeros: float) -> np.ndarray:
    """A weight whose nonzeros take some 50 values."""
    weight = sparse((64, 64), zeros)
    rounded: np.ndarray = np.sign(weight) * np.ceil(np.abs(weight) * 8) / np.float32(9)
    return rounded


@pytest.mark.parametrize(
    ("zeros", "pipeline", "structure"),
    [
        (0.0, "codebook", "codebook of {} values"),
        (0.6, "codebook", "bitmap, codebook of {} values"),
        (0.6, "sparse-weight", "bitmap"),
        (0.6, "sparse-gemm{when=always},codebook", "unstructured, codebook of {} values"),
    ],
)
def test_ids_count_as_the_numbers_they_stand_for(zeros: float, pipeline: str, structure: str) -> None:
    weight = few(zeros)
    nonzero = int(np.count_nonzero(weight))
    model = model_of(TEXT, {"w": weight})
    done, result = rewrite(model, pipeline)
    (before,), (after,) = layers_of(model, SHAPES), layers_of(done.model, SHAPES)
    values = np.unique(weight[weight != 0]).size
    dense = "unstructured" if zeros else "dense"
    assert before.structure == f"{dense}, codebook of {np.unique(weight).size} values"
    assert after.structure == structure.format(values)
    assert (after.shape, after.parameters, after.nonzero) == (before.shape, nonzero, nonzero)
    assert after.size_bytes < before.size_bytes
    if "sparse-gemm" not in pipeline:
        assert after.size_bytes == result.applied[0].candidate.size_bytes[1]
    bias = 64 if "sparse-gemm" in pipeline else 0  # the operator always has one, here of zeros
    totals = totals_of(done.model, [after])
    assert (totals.parameters, totals.nonzero) == (nonzero + bias, nonzero)


def with_constant(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[ModelProto], None]:
    def damage(model: ModelProto) -> None:
        (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))

    return damage


def without_shape(model: ModelProto) -> None:
    del model.graph.node[0].attribute[:]


def without_constant(model: ModelProto) -> None:
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == "w_ids")
    model.graph.initializer.remove(tensor)
    model.graph.input.append(onnx.helper.make_tensor_value_info("w_ids", TensorProto.UINT8, ["n"]))


DAMAGES = [
    (with_constant("w_ids", lambda ids: ids | 0x80), "is out of the codebook's"),
    (with_constant("w_ids", lambda ids: ids[1:]), "4096 of 8 bits need 4096"),
    (with_constant("w_codebook", lambda values: values[:0]), "out of the codebook's 0 values"),
    (with_constant("w_codebook", lambda values: values[None]), "the codebook has rank 2"),
    (without_constant, "no constants"),
    (without_shape, "no list of sizes 'shape'"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES)
def test_a_damaged_codebook_is_refused(damage: Callable[[ModelProto], None], words: str, tmp_path: Path) -> None:
    model = rewrite(model_of(TEXT, {"w": few(0.0)}), "codebook")[0].model.to_proto()
    damage(model)
    path = tmp_path / "damaged.onnx"
    onnx.save(model, path)
    assert_refused(onnxcomp("inspect", path), 2, words, "damaged")


@pytest.mark.parametrize("damage", [damage for damage, _ in DAMAGES[:4]])
def test_no_command_runs_into_a_damaged_codebook(damage: Callable[[ModelProto], None], tmp_path: Path) -> None:
    """What the runtime finds when it runs, it says; nothing is written."""
    sound, damaged, target = (tmp_path / f"{name}.onnx" for name in ("sound", "damaged", "out"))
    model = rewrite(model_of(TEXT, {"w": few(0.0)}), "codebook")[0].model
    model.save(sound)
    proto = model.to_proto()
    damage(proto)
    onnx.save(proto, damaged)
    assert_refused(onnxcomp("optimize", damaged, target), 2, "damaged")
    assert not target.exists()
    assert_refused(onnxcomp("bench", damaged), 2, "runs on no random input")
    verified = onnxcomp("verify", sound, damaged)
    assert verified.exit_code == 4
    assert "damaged.onnx: fails on inputs" in verified.output
