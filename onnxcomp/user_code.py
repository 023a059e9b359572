"""A user's own function, given by name as `module:function`: found, and called with its errors told on one line."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnxcomp.errors import DataError

NAME = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<function>[A-Za-z_][\w.]*)")
"""What a `module:function` looks like."""


def imported(source: str, named: str) -> Any:
    """The function that `module:function` names; modules in the working folder are found.

    Raises DataError, whose line begins with `named`: how the user knows it.
    """
    match = NAME.fullmatch(source)
    if match is None:
        raise DataError(f"{named}: not a module:function")
    with _working_folder_importable(), theirs(named):
        found: Any = importlib.import_module(match["module"])
    for attribute in match["function"].split("."):
        if not hasattr(found, attribute):
            raise DataError(f"{named}: {match['module']} has no '{match['function']}'; check the name")
        found = getattr(found, attribute)
    if not callable(found):
        raise DataError(f"{named}: a {type(found).__name__} is no function that can be called again; give the function")
    return found


@contextmanager
def theirs(name: str) -> Iterator[None]:
    """Around a user's code: whatever it raises is for the user to hear, on one line. Raises DataError."""
    try:
        yield
    except Exception as error:
        raise DataError(f"{name}: raised {type(error).__name__}: {' '.join(str(error).split())}") from error


@contextmanager
def _working_folder_importable() -> Iterator[None]:
    folder = str(Path.cwd())
    if folder in sys.path:
        yield
        return
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
