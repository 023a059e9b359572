"""shrink on random networks that were blown up by dead channels: it gives back the network they were put into."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onnxcomp.model import Model
from tests.passes.graphs import assert_equal, model_of, reasons, rewrite

TOLERANCE = 1e-5  # relative L2: ten layers of sums of float32, in another order
SIZE = 6  # of the map
Mask = NDArray[np.bool_]


@dataclass
class Network:
    """A network under construction. Of every tensor some channels are dead: zero, or zero and read by no weight."""

    rng: np.random.Generator
    dead: int  # at most, in a tensor
    lines: list[str] = field(default_factory=list)
    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    live_parameters: int = 0

    def values(self, live: Mask, *, low: float = -1.0, high: float = 1.0) -> str:
        """A constant of the shape of `live`, of which those are counted."""
        name = f"w{len(self.weights)}"
        self.weights[name] = self.rng.uniform(low, high, live.shape).astype(np.float32)
        self.live_parameters += int(live.sum())
        return name

    def node(self, expression: str) -> str:
        """The tensor that a node of `expression` gives."""
        name = f"t{len(self.lines)}"
        self.lines.append(f"[n{len(self.lines)}] {name} = {expression}")
        return name

    def mask(self) -> Mask:
        """Channels of a new tensor: two or three live ones among the dead."""
        live = np.ones(int(self.rng.integers(2, 4)), np.bool_)
        return self.rng.permutation(np.append(live, np.zeros(int(self.rng.integers(0, self.dead + 1)), np.bool_)))

    def conv(self, x: str, live_in: Mask, live: Mask, kernel: int = 3) -> str:
        """A Conv, padded: dead outputs are zero after a ReLU or have no readers, dead inputs have no weights."""
        connected = (live[:, None] & live_in)[:, :, None, None].repeat(kernel, 2).repeat(kernel, 3)
        w, b = self.values(connected), self.values(live)
        zeroed = ~live & (self.rng.random(len(live)) < 0.5)
        self.weights[w][zeroed] = 0
        self.weights[b][zeroed] = -0.5
        self.weights[w][np.ix_(live, ~live_in)] = 0
        pads = ", ".join([str(kernel // 2)] * 4)
        text = f"Conv <pads = [{pads}]> ({x}, {w}, {b})"
        return self.node(f"Relu ({self.node(text)})")

    def model(self) -> Model:
        """As it stands, from an image x to logits y."""
        body = "\n".join(self.lines)
        return model_of(f"net (float[N, 3, {SIZE}, {SIZE}] x) => (float[N, 4] y) {{\n{body}\n}}", self.weights)


def plain(net: Network, x: str, live: Mask) -> tuple[str, Mask]:
    """A Conv of its own channels."""
    new = net.mask()
    return net.conv(x, live, new, kernel=int(net.rng.choice([1, 3]))), new


def residual(net: Network, x: str, live: Mask) -> tuple[str, Mask]:
    """Two Convs around which x goes."""
    inner = net.mask()
    branch = net.conv(net.conv(x, live, inner), inner, live)
    return net.node(f"Add ({branch}, {x})"), live


def concat(net: Network, x: str, live: Mask) -> tuple[str, Mask]:
    """Two Convs side by side, or one beside x."""
    new = net.mask()
    sides = [(net.conv(x, live, new), new), (x, live)]
    order = net.rng.permutation(2)
    joined = ", ".join(sides[i][0] for i in order)
    return net.node(f"Concat <axis = 1> ({joined})"), np.concatenate([sides[i][1] for i in order])


def depthwise(net: Network, x: str, live: Mask) -> tuple[str, Mask]:
    """A Conv with a group for each channel."""
    w = net.values(np.broadcast_to(live[:, None, None, None], (len(live), 1, 3, 3)))
    return net.node(f"Conv <group = {len(live)}, pads = [1, 1, 1, 1]> ({x}, {w})"), live


def normalised(net: Network, x: str, live: Mask) -> tuple[str, Mask]:
    """BatchNormalization that leaves zeros at zero."""
    scale, mean, beta, variance = (net.values(live, low=0.1) for _ in range(4))
    net.weights[beta][~live] = net.weights[mean][~live] = 0
    return net.node(f"BatchNormalization ({x}, {scale}, {beta}, {mean}, {variance})"), live


def pooled(net: Network, x: str, live: Mask) -> tuple[str, Mask]:
    """A pooling that keeps the map's size."""
    kind = net.rng.choice(["MaxPool <", "AveragePool <count_include_pad = 1, "])
    return net.node(f"{kind}kernel_shape = [3, 3], pads = [1, 1, 1, 1]> ({x})"), live


STAGES: list[Callable[[Network, str, Mask], tuple[str, Mask]]] = [
    plain,
    residual,
    concat,
    depthwise,
    normalised,
    pooled,
]


def network(stages: list[int], seed: int, dead: int) -> Network:
    """The stages between a Conv on the image and a fully connected layer."""
    net = Network(np.random.default_rng(seed), dead)
    live = net.mask()
    x = net.conv("x", np.ones(3, np.bool_), live)
    for stage in stages:
        x, live = STAGES[stage](net, x, live)
    columns = live if net.rng.random() < 0.5 else live.repeat(SIZE * SIZE)
    pooled_x = x if len(columns) > len(live) else net.node(f"GlobalAveragePool ({x})")
    w = net.values(np.broadcast_to(columns, (4, len(columns))))
    net.weights[w][:, ~columns] = 0
    flat = net.node(f"Flatten ({pooled_x})")
    net.lines.append(f"[last] y = Gemm <transB = 1> ({flat}, {w})")
    return net


def image(seed: int) -> NDArray[np.float32]:
    """Two random images."""
    return np.random.default_rng(seed).standard_normal((2, 3, SIZE, SIZE), np.float32)


def parameters(model: Model) -> int:
    """Floating-point numbers stored."""
    stored = {t.name: model.constant(t) for node in model.graph.nodes for t in node.inputs}
    return sum(value.size for value in stored.values() if value is not None and value.dtype.kind == "f")


@settings(max_examples=40)
@given(st.lists(st.integers(0, len(STAGES) - 1), min_size=1, max_size=5), st.integers(0, 2**31), st.integers(0, 4))
def test_dead_channels_go_and_all_others_stay(stages: list[int], seed: int, dead: int) -> None:
    net = network(stages, seed, dead)
    model = net.model()
    done, result = rewrite(model, "shrink")
    assert parameters(done.model) == net.live_parameters
    assert (result.changed > 0) == (parameters(model) > net.live_parameters)
    assert_equal(model, done.model, TOLERANCE, x=image(seed))
    again, second = rewrite(done.model, "shrink")
    assert (second.changed, set(reasons(second).values())) == (0, {"none of its channels is dead"})
    assert parameters(again.model) == parameters(done.model)


@settings(max_examples=40)
@given(st.lists(st.integers(0, len(STAGES) - 1), min_size=1, max_size=5), st.integers(0, 2**31), st.integers(1, 4))
def test_filters_zeroed_anywhere_change_no_output(stages: list[int], seed: int, align: int) -> None:
    net = network(stages, seed, 3)
    for value in net.weights.values():
        value[net.rng.random(len(value)) < 0.3] = 0
        if value.ndim > 1:
            value[:, net.rng.random(value.shape[1]) < 0.3] = 0
    model = net.model()
    done, result = rewrite(model, f"shrink{{align={align}}}")
    assert not any("would be off" in reason for reason in reasons(result).values())
    assert_equal(model, done.model, TOLERANCE, x=image(seed))
    again, second = rewrite(done.model, f"shrink{{align={align}}}")
    assert second.changed == 0
    assert parameters(again.model) == parameters(done.model) <= parameters(model)
