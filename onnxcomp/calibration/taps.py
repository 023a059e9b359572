"""Tensors inside a model, read while it runs."""

from collections.abc import Iterable

from onnxcomp.errors import ModelError
from onnxcomp.formats.functions import DOMAIN
from onnxcomp.model import Model
from onnxcomp.runtime.session import Feed, run, session


class Taps:
    """A session of `model` that gives `tensors` and computes nothing beyond them.

    Raises ModelError where the model has no such tensor, or ONNX Runtime refuses it.
    """

    def __init__(self, model: Model, tensors: Iterable[str], threads: int | None = None) -> None:
        known = model.graph.tensors()
        wanted = list(dict.fromkeys(tensors))
        missing = [name for name in wanted if name not in known]
        if missing:
            raise ModelError(f"{model.source or 'the model'} has no tensor '{missing[0]}'")
        fed = {tensor.name for tensor in model.graph.inputs}
        self._given = [name for name in wanted if name in fed]
        self._computed = [name for name in wanted if name not in fed]
        if self._computed:
            cut = model.clone()
            tensors_of_cut = cut.graph.tensors()
            cut.graph.outputs = [tensors_of_cut[name] for name in self._computed]
            cut.sweep()
            library = any(domain == DOMAIN for domain, _ in model.functions)
            self._session = session(cut.to_proto().SerializeToString(), threads, library)

    def read(self, feed: Feed) -> Feed:
        """The tensors by name. Raises ModelError where the model fails on `feed`."""
        found = {name: feed[name] for name in self._given}
        if self._computed:
            found.update(zip(self._computed, run(self._session, feed), strict=True))
        return found
