"""The layers of a file in numbers, before and after, and files that claim to be ours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper

from onnxcomp.analysis import layers_of, totals_of
from onnxcomp.calibration import random_data
from onnxcomp.context import Context
from onnxcomp.inputs import input_specs
from onnxcomp.model import Model
from onnxcomp.pass_manager import PassManager
from tests.end_to_end.small import ALWAYS, assert_refused, onnxcomp, save_network
from tests.runtime.basis_models import basis_case, basis_model
from tests.runtime.sparse_models import random_case


def test_layers_and_totals(tmp_path: Path) -> None:
    model = Model.load(save_network(tmp_path / "in.onnx"))
    context = Context.on_data(model, random_data(input_specs(model), count=1, seed=0))
    layers = layers_of(model, context.shapes)
    assert [layer.macs for layer in layers] == [14 * 14 * 32 * 16 * 9, 12 * 12 * 32 * 32 * 9, 32 * 10]
    totals = totals_of(model, layers)
    assert totals.parameters == 32 * 16 * 9 + 32 + 32 * 32 * 9 + 32 * 10 + 10
    assert totals.size_bytes == (tmp_path / "in.onnx").stat().st_size
    assert (totals.opset, totals.ir) == (17, 8)

    after = layers_of(PassManager.parse(ALWAYS).run(model, context).model, context.shapes)
    first, second, head = layers
    assert [(layer.parameters, layer.macs) for layer in after] == [
        (first.nonzero, 14 * 14 * first.nonzero),
        (second.parameters, second.macs),
        (head.nonzero, head.macs),  # stored as a bitmap, computed densely
    ]
    assert [layer.shape for layer in after] == [layer.shape for layer in layers]
    assert all(now.size_bytes <= was.size_bytes for now, was in zip(after, layers, strict=True))


def test_a_basis_conv_does_its_maps_and_its_nonzeros() -> None:
    case = basis_case(random_case((8, 6, 3, 3), (2, 6, 14, 12), pads=[1, 1, 1, 1]), 2)
    proto = basis_model(case)
    (layer,) = layers_of(Model.from_proto(proto), {"X": (2, 6, 14, 12), "Y": (2, 8, 14, 12)})
    nonzero = np.count_nonzero(case.coefficients)
    assert (layer.shape, layer.structure) == ((8, 6, 3, 3), "2 bases")
    assert layer.parameters == nonzero + 2 * 9
    assert layer.macs == 2 * 14 * 12 * (6 * 2 * 9 + nonzero)
    assert layers_of(Model.from_proto(proto), {})[0].macs is None


def without_shape(node: NodeProto) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != "weight_shape"]
    del node.attribute[:]
    node.attribute.extend(kept)


def with_text_for_shape(node: NodeProto) -> None:
    without_shape(node)
    node.attribute.append(helper.make_attribute("weight_shape", "32 16 3 3"))


@pytest.mark.parametrize("damage", [without_shape, with_text_for_shape])
@pytest.mark.parametrize("op", ["SparseConv", "SparseWeight"])
def test_a_damaged_file_of_ours_is_refused(op: str, damage: Callable[[NodeProto], None], tmp_path: Path) -> None:
    path = save_network(tmp_path / "in.onnx")
    assert onnxcomp("optimize", path, path, "--passes", ALWAYS, "--quiet").exit_code == 0
    model = onnx.load(path)
    damage(next(node for node in model.graph.node if node.op_type.startswith(op)))
    path.write_bytes(model.SerializeToString())
    assert_refused(onnxcomp("inspect", path), 2, "weight_shape")
