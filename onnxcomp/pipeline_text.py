"""Pipelines as text: `fold-batchnorm,sparse-conv{when=always,min_zeros=0.5}`."""

import re
from collections.abc import Mapping

from pydantic import ValidationError

from onnxcomp.errors import UsageError
from onnxcomp.pass_api import Pass

_NAME = re.compile(r"\s*([A-Za-z][\w-]*)\s*")


def parse_pipeline(text: str) -> list[tuple[str, dict[str, str]]]:
    """Pipeline text as (pass name, options as text). UsageError with the position of what cannot be read."""
    steps: list[tuple[str, dict[str, str]]] = []
    at = 0
    while True:
        name = _NAME.match(text, at)
        if not name:
            raise UsageError(f"--passes: a pass's name is expected at position {at + 1} of '{text}'")
        at = name.end()
        options: dict[str, str] = {}
        if text[at : at + 1] == "{":
            end = text.find("}", at)
            if end < 0:
                raise UsageError(f"--passes: '{{' at position {at + 1} of '{text}' is never closed")
            for item in filter(None, (part.strip() for part in text[at + 1 : end].split(","))):
                key, equals, value = (part.strip() for part in item.partition("="))
                if not equals or not key:
                    raise UsageError(f"--passes: '{item}' is not key=value")
                if key in options:
                    raise UsageError(f"--passes: option '{key}' of {name[1]} is given twice")
                options[key] = value
            at = end + 1
        steps.append((name[1], options))
        rest = text[at:].lstrip()
        if not rest:
            return steps
        if rest[0] != ",":
            raise UsageError(
                f"--passes: ',' or the end is expected at position {len(text) - len(rest) + 1} of '{text}'"
            )
        at = len(text) - len(rest) + 1


def build(name: str, options: Mapping[str, str], catalogue: Mapping[str, type[Pass]]) -> Pass:
    """The pass `name` of `catalogue` with `options` given as text. UsageError names what is unknown or wrong."""
    kind = catalogue.get(name)
    if kind is None:
        raise UsageError(f"unknown pass '{name}'; installed: {', '.join(catalogue)}")
    try:
        return kind(kind.Options.model_validate(dict(options)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "options"
        if first["type"] == "extra_forbidden":
            known = ", ".join(kind.Options.model_fields) or "none"
            raise UsageError(f"pass {name} has no option '{where}'; it has: {known}") from error
        raise UsageError(f"pass {name}, option '{where}': {first['msg']}") from error
