"""Tensors inside a model, read while it runs."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from onnxcomp.errors import ModelError
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.model import Model
from onnxcomp.runtime.session import Feed, run, session


class Taps:
    """A session of `model` that gives `tensors` and computes nothing beyond them.

    `given` are tensors that feeds hold already, by the example of one; they are not computed either. Feeds may lack
    inputs of the model that are not read then.
    Raises ModelError where the model has no such tensor, or ONNX Runtime refuses it.
    """

    def __init__(
        self,
        model: Model,
        tensors: Iterable[str],
        threads: int | None = None,
        given: Feed = MappingProxyType({}),
    ) -> None:
        known = model.graph.tensors()
        wanted = list(dict.fromkeys(tensors))
        missing = [name for name in wanted if name not in known]
        if missing:
            raise ModelError(f"{model.source or 'the model'} has no tensor '{missing[0]}'")
        inputs = {tensor.name for tensor in model.graph.inputs}
        fed = {*given, *inputs}
        self._given = [name for name in wanted if name in fed]
        self._computed = [name for name in wanted if name not in fed]
        if self._computed:
            cut = model.clone()
            tensors_of_cut = cut.graph.tensors()
            cut.graph.outputs = [tensors_of_cut[name] for name in self._computed]
            for name, example in given.items():
                if name in tensors_of_cut and name not in inputs:
                    _feed(cut, tensors_of_cut[name], example)
            cut.sweep()
            cut.graph.inputs = [tensor for tensor in cut.graph.inputs if tensor.outputs]
            self._fed = [tensor.name for tensor in cut.graph.inputs]
            library = any(domain == DOMAIN for domain, _ in model.functions)
            # What is read goes into linear algebra, whose threads would wait for the cores of a session that spins.
            self._session = session(cut.to_proto().SerializeToString(), threads, library, alone=False)

    def read(self, feed: Feed) -> Feed:
        """The tensors by name. Raises ModelError where the model fails on `feed`."""
        found = {name: feed[name] for name in self._given}
        if self._computed:
            fed = {name: feed[name] for name in self._fed if name in feed}
            found.update(zip(self._computed, run(self._session, fed), strict=True))
        return found


def _feed(model: Model, tensor: gs.Tensor, example: NDArray[Any]) -> None:
    """Make `tensor` an input of `model`; what made it gives it under another name, to nobody."""
    name = tensor.name
    readers = list({id(node): node for node in tensor.outputs}.values())
    fed = gs.Variable(name, example.dtype, [None] * example.ndim)
    for node in readers:
        node.inputs = [fed if one is tensor else one for one in node.inputs]
    tensor.name = f"{name} computed"
    model.graph.inputs.append(fed)
