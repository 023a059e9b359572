"""expand-lrn: compute a local response normalisation by vectorised operators instead of one power an element.

    y = x / (k + alpha / n * sum of x^2 over n neighbouring channels)^beta        for beta = 3/4, 1/2 or 1

becomes x * x -> AveragePool over channels -> k + alpha * average -> square roots -> x / that. (Krizhevsky et al., NIPS
2012, section 3.3, where n = 5 and beta = 3/4: v^(3/4) = sqrt(v) * sqrt(sqrt(v)).) ONNX Runtime's LRN calls the scalar
`pow` for every element, which in AlexNet takes more time than its sparse convolutions do. Only where it is measured
faster here. Equal to rounding. Declines other values of beta and a number of channels that is not known.
"""

from collections.abc import Iterable
from math import floor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from onnxcomp.context import Context
from onnxcomp.convolution import is_standard
from onnxcomp.fragment import Fragment
from onnxcomp.model import Model
from onnxcomp.pass_api import Candidate, Declined, Pass, Site

_BETAS = (0.75, 0.5, 1.0)


class ExpandLrn(Pass):
    """Compute local response normalisations by square roots instead of powers."""

    name = "expand-lrn"
    summary = "compute local response normalisations by square roots instead of powers"
    min_opset = 7  # broadcasting, and AveragePool that counts its padding

    def match(self, graph: Model) -> Iterable[Site | Declined]:
        """Every LRN."""
        for node in list(graph.graph.nodes):
            if is_standard(node, "LRN"):
                site = Site((node,))
                beta = round(float(node.attrs.get("beta", 0.75)), 6)
                yield (
                    site if beta in _BETAS else Declined(site.name, f"beta = {beta:g} is not a matter of square roots")
                )

    def propose(self, site: Site, context: Context) -> Iterable[Candidate | Declined]:
        """The expanded form, timed against the operator."""
        (node,) = site.nodes
        shape = context.shapes.get(node.inputs[0].name, ())
        if len(shape) < 3 or context.dtypes.get(node.inputs[0].name) != TensorProto.FLOAT:
            yield Declined(site.name, "the input is not float32 of known channels and a map")
            return
        before = Fragment.of(context.model, site.nodes)
        x, y = before.inputs[0], before.outputs[0]
        size = int(node.attrs["size"])
        constants: dict[str, NDArray[Any]] = {
            f"{y}_rows": np.array([0, 1, shape[1], -1], np.int64),  # channels down, the map's pixels across
            f"{y}_alpha": np.array(node.attrs.get("alpha", 1e-4), np.float32),
            f"{y}_bias": np.array(node.attrs.get("bias", 1.0), np.float32),
        }
        rows, alpha, bias = constants
        steps = [
            helper.make_node("Mul", [x, x], [f"{y}_square"]),
            helper.make_node("Reshape", [f"{y}_square", rows], [f"{y}_by_channel"]),
            helper.make_node(
                "AveragePool",
                [f"{y}_by_channel"],
                [f"{y}_average"],
                kernel_shape=[size, 1],
                pads=[floor((size - 1) / 2), 0, size // 2, 0],
                count_include_pad=1,  # the sum over the neighbours there are, divided by n all the same
            ),
            helper.make_node("Mul", [f"{y}_average", alpha], [f"{y}_scaled"]),
            helper.make_node("Add", [f"{y}_scaled", bias], [f"{y}_base"]),
            *_power(y, round(float(node.attrs.get("beta", 0.75)), 6)),
            helper.make_node("Shape", [x], [f"{y}_shape"]),
            helper.make_node("Reshape", [f"{y}_power", f"{y}_shape"], [f"{y}_divisor"]),
            helper.make_node("Div", [x, f"{y}_divisor"], [y], name=node.name),
        ]
        after = Fragment(tuple(steps), constants, before.inputs, before.outputs)
        yield Candidate(self.name, after, before, timing=context.measure(before, after))


def _power(y: str, beta: float) -> list[NodeProto]:
    """`y`_base to the power of beta."""
    base, root, power = f"{y}_base", f"{y}_root", f"{y}_power"
    if beta == 1:
        return [helper.make_node("Identity", [base], [power])]
    if beta == 0.5:
        return [helper.make_node("Sqrt", [base], [power])]
    return [
        helper.make_node("Sqrt", [base], [root]),
        helper.make_node("Sqrt", [root], [f"{y}_fourth_root"]),
        helper.make_node("Mul", [root, f"{y}_fourth_root"], [power]),
    ]
