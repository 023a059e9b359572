"""The roles that ONNX Runtime gives nodes, against the graphs that it makes."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from onnxcomp.calibration import random_data
from onnxcomp.convolution import label
from onnxcomp.cost.host import host
from onnxcomp.cost.layout import Layouts, Role, block_size
from onnxcomp.cost.shapes import concrete_types
from onnxcomp.inputs import input_specs
from onnxcomp.model import Model
from onnxcomp.pass_manager import PassManager
from onnxcomp.runtime.session import register
from onnxcomp.selection import Selection
from tests.passes.graphs import model_of, sparse

SIDE = 14
PIPELINE = "sparse-conv{when=always,min_zeros=0}"
REORDERS = ("ReorderInput", "ReorderOutput")


def seen_by_ort(model: Model, folder: Path) -> Counter[str]:
    """How many conversions of either kind ONNX Runtime puts in, with our library."""
    options = register(ort.SessionOptions())
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model.to_proto().SerializeToString(), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(folder / "optimized.onnx").graph
    return Counter({op: sum(node.op_type == op for node in graph.node) for op in REORDERS})


def foretold(model: Model) -> Counter[str]:
    """The same by the roles: every tensor that changes sides is converted once for all its readers."""
    shapes, _ = concrete_types(model, {tensor.name: tensor.shape for tensor in model.graph.inputs})
    layouts = Layouts(model, shapes, block_size(host().isa))
    blocked: dict[int, bool] = {}
    found = Counter(dict.fromkeys(REORDERS, 0))
    wanted: dict[int, set[bool]] = {id(tensor): {False} for tensor in model.graph.outputs}
    for node in model.graph.nodes:
        inputs = layouts.data_inputs(node)
        follows = layouts.role(node) is Role.FOLLOWS and all(blocked.get(id(tensor), False) for tensor in inputs)
        reads = follows or layouts.role(node) is Role.BLOCKED
        for tensor in inputs:
            wanted.setdefault(id(tensor), set()).add(reads)
        for tensor in node.outputs:
            blocked[id(tensor)] = reads or layouts.role(node) is Role.ENTERS
    for tensor, sides in wanted.items():
        found["ReorderOutput"] += blocked.get(tensor, False) and False in sides
        found["ReorderInput"] += not blocked.get(tensor, False) and True in sides
    return found


def fixed(path: Path) -> Model:
    """The model for inputs of one size: what ONNX Runtime does not know of a dynamic size it cannot use."""
    data = random_data(input_specs(Model.load(path)), count=1, seed=0).one()
    proto = onnx.load(path)
    for info in proto.graph.input:
        if info.name in data:
            info.CopyFrom(helper.make_tensor_value_info(info.name, TensorProto.FLOAT, data[info.name].shape))
    return Model.from_proto(proto)


def weights(**shapes: tuple[int, ...]) -> dict[str, Any]:
    return {name: sparse(shape, 0.0) + (name == "v") for name, shape in shapes.items()}


CONV = "Conv <pads = [1, 1, 1, 1]>"
MAX, MEAN = (f"{kind}Pool <kernel_shape = [2, 2]>" for kind in ("Max", "Average"))
SQUARE = {"w": (32, 32, 3, 3), "b": (32,)}
NORM = "n = BatchNormalization (p, b, b, b, v)"
WITH_V = {**SQUARE, "v": (32,)}
SMALL_SE = "q = GlobalAveragePool (c) s = Sigmoid (q) m = Mul (c, s)"


@pytest.mark.parametrize(
    ("channels", "body", "shapes"),
    [
        (32, f"c = {CONV} (x, w, b) e = Exp (x) s = Add (c, e) t = Relu (s) y = {CONV} (t, w, b)", SQUARE),
        (32, f"c = {CONV} (x, w, b) d = {CONV} (c, w, b) s = Add (c, d) t = Relu (s) y = {CONV} (t, w, b)", SQUARE),
        (32, f"c = {CONV} (x, w, b) e = Exp (x) s = Concat <axis = 1> (c, e) y = {MAX} (s)", SQUARE),
        (32, f"c = {CONV} (x, w, b) d = {CONV} (c, w, b) s = Concat <axis = 1> (c, d) y = {MEAN} (s)", SQUARE),
        (32, f"e = Exp (x) m = {MAX} (e) r = Relu (m) y = Exp (r)", {}),
        (32, "e = Exp (x) y = GlobalAveragePool (e)", {}),
        (32, f"c = {CONV} (x, w, b) {SMALL_SE} y = {CONV} (m, w, b)", SQUARE),
        (32, f"c = {CONV} (x, w, b) f = Exp (c) h = Sin (c) i = Add (f, h) j = Sub (i, c) y = Exp (j)", SQUARE),
        (32, f"c = {CONV} (x, w, b) p = {MAX} (c) {NORM} y = Exp (n)", WITH_V),
        (32, f"c = {CONV} (x, w, b) r = Sigmoid (c) s = Mul (r, c) y = {CONV} (s, w, b)", SQUARE),
        (32, f"c = {CONV} (x, w, b) z = Add (w, w) y = {CONV} (c, z, b)", SQUARE),
        (20, f"y = {MAX} (x)", {}),
        (3, f"c = {CONV} (x, u, b) y = {CONV} (c, w, b)", {**SQUARE, "u": (32, 3, 3, 3)}),
        (32, f"c = {CONV} (x, u, b) y = {CONV} (c, w, b)", {"u": (12, 32, 3, 3), "w": (12, 12, 3, 3), "b": (12,)}),
        (32, f"c = {CONV} (x, u, b) y = {CONV} (c, w, b)", {"u": (20, 32, 3, 3), "w": (20, 20, 3, 3), "b": (20,)}),
        (18, "y = Conv (x, u, b)", {"u": (32, 18, 3, 3), "b": (32,)}),
        (24, "c = Conv <group = 24> (x, u, b) y = Exp (c)", {"u": (24, 1, 3, 3), "b": (24,)}),
        (18, "c = Conv <group = 18> (x, u, b) y = Exp (c)", {"u": (18, 1, 3, 3), "b": (18,)}),
        (32, "c = Conv <group = 2> (x, u, b) y = Exp (c)", {"u": (32, 16, 3, 3), "b": (32,)}),
        (40, "c = Conv <group = 2> (x, u, b) y = Exp (c)", {"u": (40, 20, 3, 3), "b": (40,)}),
    ],
)  # fmt: skip
def test_small_graphs(channels: int, body: str, shapes: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    text = f"g (float[1, {channels}, {SIDE}, {SIDE}] x) => (float[N, C, H, W] y) {{{body}}}"
    model = model_of(text, {name: np.abs(value) for name, value in weights(**shapes).items()})
    assert foretold(model) == seen_by_ort(model, tmp_path)


@pytest.mark.parametrize("name", ["squeezenet1_1_imagenet", "resnet20_cifar10", "ultraface_rfb_320"])
@pytest.mark.parametrize("seed", range(4))
def test_networks_of_which_a_part_is_sparse(name: str, seed: int, shared: Path, tmp_path: Path) -> None:
    model = fixed(shared / "models" / f"{name}.onnx")
    convs = [re.escape(label(node)) for node in model.graph.nodes if node.op == "Conv"]
    some = np.random.default_rng(seed).choice(convs, len(convs) * seed // 4, replace=False)
    chosen = Selection(include=tuple(f"^{name}$" for name in some) or ("",), exclude=() if seed else ("",))
    run = PassManager.parse(PIPELINE).run(model, selection=chosen)
    assert foretold(run.model) == seen_by_ort(run.model, tmp_path)
