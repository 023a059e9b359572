"""`inspect`: the layers of a model and what could apply to each."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onnxcomp.analysis import Layer, layers_of
from onnxcomp.catalogue import installed
from onnxcomp.context import Context
from onnxcomp.errors import PassError
from onnxcomp.model import Model
from onnxcomp.pass_api import Pass, Site

SCHEMA = 1


@dataclass(frozen=True)
class Inspection:
    """Layers in graph order, and by layer key the passes that found a site there."""

    path: Path
    layers: tuple[Layer, ...]
    methods: dict[str, tuple[str, ...]]

    def to_json(self) -> dict[str, Any]:
        """The object that `inspect --json` writes."""
        return {"schema": SCHEMA, "path": str(self.path), "layers": [self._layer(layer) for layer in self.layers]}

    def by_pass(self) -> dict[str, list[str]]:
        """Names of the layers each pass could act on."""
        found: dict[str, list[str]] = {}
        for layer in self.layers:
            for name in self.methods.get(layer.key, ()):
                found.setdefault(name, []).append(layer.name)
        return found

    def _layer(self, layer: Layer) -> dict[str, Any]:
        return {**asdict(layer), "zeros": layer.zeros, "methods": list(self.methods.get(layer.key, ()))}


def inspect_model(model: Model, context: Context, path: Path) -> Inspection:
    """Inspect `model`. Nothing is measured and nothing changed: each pass is only asked where it could act.

    A pass that needs data, or options that must be given, is not asked: it depends on them. PassError names a pass
    that fails.
    """
    methods: dict[str, tuple[str, ...]] = {}
    for name, kind in installed().items():
        if kind.needs_data or any(option.is_required() for option in kind.Options.model_fields.values()):
            continue
        for key in _keys(kind(), model.clone()):
            methods[key] = (*methods.get(key, ()), name)
    return Inspection(path, tuple(layers_of(model, context.shapes)), methods)


def _keys(one: Pass, model: Model) -> list[str]:
    try:
        return [found.key for found in one.match(model) if isinstance(found, Site)]
    except Exception as error:
        raise PassError(f"pass {one.name} failed: {type(error).__name__}: {error}") from error
