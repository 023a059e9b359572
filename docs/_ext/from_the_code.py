"""Pages that the code writes: `<!-- from the code: NAME -->` in a page becomes what NAME gives.

`passes` is every installed pass with the head of its module and its typed options.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from sphinx.application import Sphinx

from onnxcomp.catalogue import installed
from onnxcomp.commands import passes as listing
from onnxcomp.pass_api import Pass


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True}


def _fill(_app: Sphinx, _page: str, source: list[str]) -> None:
    for name, write in _WRITERS.items():
        source[0] = source[0].replace(f"<!-- from the code: {name} -->", write())


def _passes() -> str:
    described = {one["name"]: one for one in listing()["passes"]}
    return "\n\n".join(_one(kind, described[name]) for name, kind in installed().items())


def _one(kind: type[Pass], described: Mapping[str, Any]) -> str:
    head = inspect.getdoc(sys.modules[kind.__module__]) or ""
    facts = [
        "needs `--data`" if kind.needs_data else "",
        "" if kind.portable else "left out by `--portable`",
        f"its output needs opset {kind.min_opset}" if kind.min_opset > 1 else "",
    ]
    lines = [f"## {kind.name}", "", f"{kind.summary[0].upper()}{kind.summary[1:]}.", ""]
    if any(facts):
        lines += [f"*{'; '.join(fact for fact in facts if fact)}*", ""]
    lines += ["```text", head, "```", ""]
    if described["options"]:
        lines += ["| option | type | default | |", "| --- | --- | --- | --- |"]
        lines += [_option(option) for option in described["options"]]
    return "\n".join(lines)


def _option(option: Mapping[str, Any]) -> str:
    default = "must be given" if option["required"] else f"`{option['default']}`"
    kind = str(option["type"]).replace("|", "\\|")
    return f"| `{option['name']}` | `{kind}` | {default} | {option['description'] or ''} |"


_WRITERS: Mapping[str, Callable[[], str]] = {"passes": _passes}
