"""The committed digits models and data: as accurate and as sparse as they say, and what their script makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

import train_digits

MODELS = Path(train_digits.__file__).parent
NAMES = ("digits", "digits_pruned")
ALL = pytest.mark.parametrize("name", NAMES)


def load(name: str) -> onnx.ModelProto:
    return onnx.load(MODELS / f"{name}.onnx")


def metadata(name: str) -> dict[str, str]:
    return {entry.key: entry.value for entry in load(name).metadata_props}


def measured_accuracy(name: str) -> float:
    session = onnxruntime.InferenceSession(MODELS / f"{name}.onnx", providers=["CPUExecutionProvider"])
    with np.load(MODELS / "digits.npz") as data:
        (logits,) = session.run(["logits"], {"input": data["input"]})
        return float(np.mean(np.argmax(logits, axis=1) == data["labels"]))


def conv_weights(name: str) -> list[NDArray[np.float32]]:
    graph = load(name).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return [arrays[node.input[1]] for node in graph.node if node.op_type == "Conv"]


@ALL
def test_accuracy_is_what_the_file_says(name: str) -> None:
    accuracy = measured_accuracy(name)
    assert accuracy >= 0.98
    # One image of 360 may lie on the fence between two classes on another machine.
    assert accuracy == pytest.approx(float(metadata(name)["accuracy"]), abs=1.5 / 360)


def test_pruning_costs_at_most_a_point() -> None:
    assert measured_accuracy("digits_pruned") >= measured_accuracy("digits") - 0.01


def test_zeros() -> None:
    assert all(np.all(weight != 0) for weight in conv_weights("digits"))
    first, *others = conv_weights("digits_pruned")
    assert np.all(first != 0)
    for weight in others:
        assert np.count_nonzero(weight == 0) == round(train_digits.SPARSITY * weight.size)


@ALL
def test_graph_leaves_work_for_the_optimizer(name: str) -> None:
    model = load(name)
    onnx.checker.check_model(model, full_check=True)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("Conv") == operators.count("BatchNormalization") == len(train_digits.WIDTHS)
    assert "Dropout" in operators
    assert "Identity" in operators


@ALL
def test_metadata_names_the_source(name: str) -> None:
    said = metadata(name)
    assert (said["license"], said["data"]) == (train_digits.LICENSE, train_digits.DATA)
    assert said["sparsity"] == ("0.0" if name == "digits" else str(train_digits.SPARSITY))
    assert said["script"] == "models/train_digits.py"


def test_data_is_the_test_part_of_the_split() -> None:
    expected = train_digits.digits(int(metadata("digits")["seed"]))
    with np.load(MODELS / "digits.npz") as data:
        assert sorted(data.files) == ["input", "labels"]
        assert (data["input"].dtype, data["labels"].dtype) == (np.float32, np.int64)
        assert np.array_equal(data["input"], expected.test_images.transpose(0, 3, 1, 2))
        assert np.array_equal(data["labels"], expected.test_labels)


@pytest.mark.parametrize("file", ["digits.onnx", "digits_pruned.onnx", "digits.npz"])
def test_small_enough_to_commit(file: str) -> None:
    assert (MODELS / file).stat().st_size < 1_000_000
