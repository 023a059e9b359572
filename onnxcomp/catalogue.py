"""Installed passes by name, from the entry-point group `onnxcomp.passes`.

An entry point is a pass class or an ordered sequence of them; the built-in passes come by the same road.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from onnxcomp.errors import OnnxcompError
from onnxcomp.pass_api import Pass

GROUP = "onnxcomp.passes"


@cache
def installed() -> Mapping[str, type[Pass]]:
    """Every installed pass, ours first and in the order they are meant to run. OnnxcompError on a broken plug-in."""
    found: dict[str, type[Pass]] = {}
    ours_first = sorted(entry_points(group=GROUP), key=lambda e: (e.name != "builtin", e.name))
    for entry in ours_first:
        for kind in _load(entry):
            if kind.name in found:
                raise OnnxcompError(f"plug-in '{entry.name}' ({entry.value}) redefines the pass '{kind.name}'")
            found[kind.name] = kind
    return MappingProxyType(found)


def _load(entry: EntryPoint) -> tuple[type[Pass], ...]:
    try:
        value = entry.load()
        kinds = (value,) if isinstance(value, type) else tuple(value)
    except Exception as error:
        raise OnnxcompError(f"plug-in '{entry.name}' ({entry.value}) cannot be loaded: {error}") from error
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Pass)):
            raise OnnxcompError(f"plug-in '{entry.name}' ({entry.value}) holds {kind!r}, which is no Pass")
        if not isinstance(getattr(kind, "name", None), str):
            raise OnnxcompError(f"plug-in '{entry.name}' ({entry.value}) holds {kind!r}, which has no name")
    return kinds
