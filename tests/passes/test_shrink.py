"""shrink: which channels go, and that the outputs are the same."""

import numpy as np
import pytest

from tests.passes.graphs import model_of, reasons, rewrite
from tests.passes.shrinking import BETWEEN, between, check, pair, random, shapes

PASSING = {
    "Relu (a)": {},
    "LeakyRelu (a)": {},
    "Sigmoid (a)": {},
    "HardSwish (a)": {},
    "Clip (a, low, high)": {"low": np.float32(0), "high": np.float32(6)},
    "PRelu (a, slope)": {"slope": random(8, 1, 1)},
    "Mul (a, scale)": {"scale": random(1, 8, 1, 1)},
    "Add (shift, a)": {"shift": random(8, 1, 1)},
    "Sub (a, half)": {"half": np.float32(0.5)},
    "Div (a, scale)": {"scale": random(8, 1, 1)},
    "BatchNormalization (a, scale, shift, shift, scale)": {"scale": random(8), "shift": random(8)},
    "InstanceNormalization (a, scale, shift)": {"scale": random(8), "shift": random(8)},
    "MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a)": {},
    "AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (a)": {},
    "GlobalAveragePool (a)": {},
    "ReduceMean <axes = [2, -1]> (a)": {},
    "Dropout (a)": {},
    "Identity (a)": {},
    "Pad (a, pads)": {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
    "Resize <mode = \"nearest\"> (a, , scales)": {"scales": np.array([1, 1, 2, 2], np.float32)},
    "Slice (a, start, end, axes)": {"start": np.array([1]), "end": np.array([9]), "axes": np.array([-1])},
    "Conv <group = 8, pads = [1, 1, 1, 1]> (a, k)": {"k": random(8, 1, 3, 3)},
    "Reshape (a, target)": {"target": np.array([0, 8, 4, -1])},
}  # fmt: skip


@pytest.mark.parametrize("node", PASSING)
def test_a_channel_that_nobody_reads_goes(node: str) -> None:
    weights = pair() | {name: np.asarray(value) for name, value in PASSING[node].items()}
    weights["v"][:, [2, 5]] = 0
    found, result = check(between(f"[it] t = {node}", "t", weights))
    assert (found["first"], found["last"]) == ((6, 3, 3, 3), (5, 6, 1, 1))
    (site,) = result.applied
    assert site.candidate.options["removed"] == (4 if "group" in node else 2)


UNIFORM = [node for node in PASSING if not node.startswith(("Instance", "Resize", "Pad", "Conv"))]


@pytest.mark.parametrize("node", UNIFORM)
def test_a_constant_channel_goes_into_the_bias(node: str) -> None:
    weights = pair() | {name: np.asarray(value) for name, value in PASSING[node].items()}
    weights["w"][[2, 5]] = 0
    found, _ = check(between(f"[it] t = {node}", "t", weights))
    assert (found["first"], found["last"]) == ((6, 3, 3, 3), (5, 6, 1, 1))


def test_a_consumer_without_a_bias_gets_one() -> None:
    weights = pair()
    weights["w"][3] = 0
    del weights["c"]
    model = model_of(BETWEEN.replace(", c)", ")") % ("t = Relu (a)", "0, 0, 0, 0", "t"), weights)
    found, result = check(model)
    assert found["last"] == (5, 7, 1, 1)
    assert "y_bias_shrunk" in result.applied[0].candidate.after.constants


@pytest.mark.parametrize(("bias", "channels"), [(-0.5, 7), (0.0, 7), (0.5, 8)])
def test_with_zero_padding_only_a_zero_goes(bias: float, channels: int) -> None:
    weights = pair(kernel=3)
    weights["w"][3] = 0
    weights["b"][3] = bias
    found, result = check(between("t = Relu (a)", "t", weights, "1, 1, 1, 1"))
    assert found["first"] == (channels, 3, 3, 3)
    reason = "output channel 3 is constant but stays: 'last' reads it and pads it with zeros"
    assert reasons(result).get("first") == (reason if channels == 8 else None)


@pytest.mark.parametrize(
    "node", ["Pad (a, pads)", "AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (a)"]
)
def test_padding_between_makes_a_constant_none(node: str) -> None:
    weights = pair()
    weights["w"][3] = 0
    if "Pad " in node:
        weights["pads"] = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    found, result = check(between(f"t = {node}", "t", weights))
    assert (found["first"], result.changed) == ((8, 3, 3, 3), 0)
    weights["b"][3] = 0
    found, result = check(between(f"t = {node}", "t", weights))
    assert (found["first"], result.changed) == ((7, 3, 3, 3), 1)


def test_a_chain_shrinks_to_a_fixpoint() -> None:
    """Channel 1 of b is read by nobody; then a's channel 4, which only it reads, is not either, and it goes on."""
    text = """net (float[N, 3, 8, 8] x) => (float[N, 5, H, W] y) {
        [first] a = Conv (x, w, b)
        r = Relu (a)
        [second] s = Conv (r, u)
        t = Relu (s)
        [last] y = Conv (t, v, c)
    }"""
    weights = pair() | {"u": random(8, 8, 3, 3)}
    weights["v"][:, 1] = 0
    weights["u"][[i for i in range(8) if i != 1], 4] = 0
    found, _ = check(model_of(text, weights))
    assert found == {"first": (7, 3, 3, 3), "second": (7, 7, 3, 3), "last": (5, 7, 1, 1)}


RESIDUAL = """net (float[N, 3, 8, 8] x) => (float[N, 5, H, W] y) {
    [first] a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    [left] l = Conv (a, u)
    s = Add (a, l)
    [last] y = Conv (s, v, c)
}"""


def test_across_an_add_what_both_sides_can_do_without() -> None:
    weights = pair() | {"u": random(8, 8, 1, 1)}
    weights["v"][:, [1, 6]] = 0
    weights["u"][:, [1, 2]] = 0
    found, _ = check(model_of(RESIDUAL, weights))
    assert found == {"first": (7, 3, 3, 3), "left": (7, 7, 1, 1), "last": (5, 7, 1, 1)}


def test_a_constant_goes_through_an_add_where_both_sides_are() -> None:
    weights = pair() | {"u": random(8, 8, 1, 1)}
    weights["w"][[1, 6]] = 0
    weights["u"][[1, 2]] = 0
    found, _ = check(model_of(RESIDUAL, weights))
    assert found == {"first": (7, 3, 3, 3), "left": (7, 7, 1, 1), "last": (5, 7, 1, 1)}, "1, but neither 2 nor 6"


def test_channels_that_a_pad_adds() -> None:
    """The shortcut of a residual network without weights: every other pixel, and channels of zeros."""
    text = """net (float[N, 3, 8, 8] x) => (float[N, 5, H, W] y) {
        [first] a = Conv <pads = [1, 1, 1, 1]> (x, w, b)
        [left] l = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (a, u)
        h = Slice (a, start, end, axes, step)
        p = Pad (h, pads)
        s = Add (l, p)
        [last] y = Conv (s, v, c)
    }"""
    weights = pair() | {"u": random(14, 8, 3, 3), "v": random(5, 14, 1, 1), "pads": np.array([0, 2, 0, 0, 0, 4, 0, 0])}
    ints = {"start": [0, 0], "end": [99, 99], "axes": [2, 3], "step": [2, 2]}
    weights |= {name: np.array(value) for name, value in ints.items()}
    weights["v"][:, [0, 5, 13]] = 0
    weights["u"][:, 3] = 0
    weights["u"][10] = 0  # 10 to 13 and 0 to 1 come from the padding
    found, _ = check(model_of(text, weights))
    assert found["first"] == (7, 3, 3, 3)
    assert (found["left"], found["last"]) == ((10, 7, 3, 3), (5, 10, 1, 1))


def test_concat_splits_what_goes() -> None:
    text = """net (float[N, 3, 8, 8] x) => (float[N, 5, H, W] y) {
        [left] l = Conv (x, w, b)
        [right] r = Conv (x, u)
        j = Concat <axis = -3> (l, r)
        t = Relu (j)
        [last] y = Conv (t, v, c)
    }"""
    weights = pair() | {"u": random(4, 3, 3, 3), "v": random(5, 12, 1, 1)}
    weights["v"][:, [0, 7, 8, 11]] = 0
    found, _ = check(model_of(text, weights))
    assert found == {"left": (6, 3, 3, 3), "right": (2, 3, 3, 3), "last": (5, 8, 1, 1)}


@pytest.mark.parametrize("node", ["Flatten (t)", "Reshape (t, target)"])
@pytest.mark.parametrize("transposed", [0, 1])
def test_a_channel_is_a_block_of_a_fully_connected_layers_columns(node: str, transposed: int) -> None:
    text = f"""net (float[N, 3, 8, 8] x) => (float[N, 10] y) {{
        [first] a = Conv <strides = [2, 2]> (x, w, b)
        t = Relu (a)
        f = {node}
        [last] y = Gemm <transB = {transposed}, alpha = 0.5, beta = 2.0> (f, v, c)
    }}"""
    v = random(10, 8 * 9)
    v[:, 9:18] = 0
    weights = pair() | {"v": v if transposed else v.T.copy(), "c": random(1, 10)}
    weights["w"][4] = 0
    if "target" in node:
        weights["target"] = np.array([-1, 72])
    found, _ = check(model_of(text, weights))
    assert (found["first"], sorted(found["last"])) == ((6, 3, 3, 3), [10, 54])


def test_fully_connected_layers_among_themselves() -> None:
    text = """net (float[N, 6] x) => (float[N, 4] y) {
        [first] a = MatMul (x, w)
        s = Add (a, b)
        r = Relu (s)
        [second] t = MatMul (r, u)
        [last] y = Gemm (t, v)
    }"""
    weights = {"w": random(6, 9), "b": -random(9), "u": random(9, 7), "v": random(7, 4)}
    weights["w"][:, 2] = 0  # the Relu of a negative constant: zero, which even a layer without bias can lose
    weights["v"][3] = 0
    found, _ = check(model_of(text, weights), x=(2, 6))
    assert found == {"first": (6, 8), "second": (8, 6), "last": (6, 4)}


def test_a_transposed_convolution() -> None:
    weights = pair() | {"v": random(8, 5, 2, 2)}
    weights["v"][3] = 0
    weights["w"][6] = 0
    weights["b"][6] = -1
    text = BETWEEN.replace("Conv <pads = [%s]>", "ConvTranspose <strides = [2, 2]>")
    found, _ = check(model_of(text % ("t = Relu (a)", "t"), weights))
    assert (found["first"], found["last"]) == ((6, 3, 3, 3), (6, 5, 2, 2))


def test_groups_go_as_a_whole_or_keep_equally_many() -> None:
    """Of two groups, each can lose a channel; the third that only one could lose stays."""
    weights = pair() | {"k": random(8, 4, 3, 3)}
    weights["v"][:, [0, 1, 6]] = 0
    weights["k"][:4, 2] = weights["k"][4:, 3] = 0
    found, _ = check(between("[it] t = Conv <group = 2, pads = [1, 1, 1, 1]> (a, k)", "t", weights))
    assert found == {"first": (6, 3, 3, 3), "it": (6, 3, 3, 3), "last": (5, 6, 1, 1)}
    weights["v"][:, :4] = 0
    found, _ = check(between("[it] t = Conv <group = 2, pads = [1, 1, 1, 1]> (a, k)", "t", weights))
    assert found == {"first": (3, 3, 3, 3), "it": (3, 3, 3, 3), "last": (5, 3, 1, 1)}


def test_a_basis_of_a_depthwise_multiplier() -> None:
    weights = {"k": random(9, 1, 3, 3), "v": random(5, 9, 1, 1)}
    weights["v"][:, [1, 4, 7, 8]] = 0  # basis 1 of every channel, and one that only channel 2 could lose
    text = """net (float[N, 3, 8, 8] x) => (float[N, 5, H, W] y) {
        [it] t = Conv <group = 3> (x, k)
        [last] y = Conv (t, v)
    }"""
    found, result = check(model_of(text, weights))
    assert found == {"it": (6, 1, 3, 3), "last": (5, 6, 1, 1)}
    assert result.changed == 1


def test_a_constant_goes_through_a_depthwise_convolution() -> None:
    weights = pair() | {"k": random(8, 1, 3, 3), "d": random(8)}
    weights["w"][3] = 0
    found, _ = check(between("[it] t = Conv <group = 8> (a, k, d)", "t", weights))
    assert found == {"first": (7, 3, 3, 3), "it": (7, 1, 3, 3), "last": (5, 7, 1, 1)}


def test_behind_a_padded_depthwise_convolution_nothing_is_constant() -> None:
    weights = pair() | {"k": random(8, 1, 3, 3)}
    weights["w"][3] = 0
    model = between("[it] t = Conv <group = 8, pads = [1, 1, 1, 1]> (a, k)", "t", weights)
    found, result = check(model)
    assert (found["first"], result.changed) == ((8, 3, 3, 3), 0)
    assert "output channel 3 is constant but stays: 'it' reads it and pads it with zeros" in reasons(result)["first"]


def test_one_channel_stays_of_a_layer_that_nobody_reads() -> None:
    weights = pair()
    weights["v"][:] = 0
    found, _ = check(between("t = Relu (a)", "t", weights))
    assert (found["first"], found["last"]) == ((1, 3, 3, 3), (5, 1, 1, 1))


@pytest.mark.parametrize(("align", "channels"), [(1, 5), (2, 6), (4, 8), (16, 8)])
def test_numbers_of_channels_stay_multiples(align: int, channels: int) -> None:
    weights = pair()
    weights["v"][:, 5:] = 0
    found, _ = check(between("t = Relu (a)", "t", weights), align)
    assert found["first"] == (channels, 3, 3, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_types(dtype: type) -> None:
    kind = {np.float16: "float16", np.float64: "double"}[dtype]
    text = (BETWEEN % ("t = Relu (a)", "0, 0, 0, 0", "t")).replace("float[", f"{kind}[")
    weights = pair()
    weights["v"][:, 1] = 0
    weights["w"][[3, 4]] = 0
    weights["b"][4] = -1
    done, result = rewrite(model_of(text, {name: v.astype(dtype) for name, v in weights.items()}), "shrink")
    if result.changed:  # float16 Convs run where this ONNX Runtime has them
        assert shapes(done.model)["first"] == ((6 if dtype is np.float16 else 5), 3, 3, 3)
    else:
        assert "can be neither measured nor proved" in reasons(result)["first"]


def test_one_dimension_and_an_old_opset() -> None:
    text = """net (float[2, 3, 20] x) => (float[2, 5, 18] y) {
        [first] a = Conv (x, w, b)
        t = Relu (a)
        [last] y = Conv (t, v)
    }"""
    weights = {"w": random(8, 3, 3), "b": random(8), "v": random(5, 8, 1)}
    weights["v"][:, 2] = 0
    weights["w"][4] = 0
    found, _ = check(model_of(text, weights, opset=7), x=(2, 3, 20))
    assert found == {"first": (6, 3, 3), "last": (5, 6, 1)}
