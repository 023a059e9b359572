"""What a pass's choices were fitted to be in its last run, for a run that begins with the same choices.

A fit takes long and depends on the choices before it, not on those behind: so it is known by all choices up to its own.
"""

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fits(Generic[T]):
    """The fits of one run after another, of which the last is remembered."""

    def __init__(self) -> None:
        self._last: dict[str, T] = {}
        self._this: dict[str, T] = {}
        self._chain = ""

    def begin(self) -> "Fits[T]":
        """A run begins."""
        self._last, self._this, self._chain = self._this, {}, ""
        return self

    def of(self, choice: str, fit: Callable[[], T]) -> T:
        """What `fit` gives for the next `choice` of the run, or gave in the last run after the same choices."""
        self._chain = hashlib.sha256(f"{self._chain}\n{choice}".encode()).hexdigest()
        found = self._last[self._chain] if self._chain in self._last else fit()
        self._this[self._chain] = found
        return found
