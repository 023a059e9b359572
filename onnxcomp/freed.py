"""Memory that was freed: allocators keep it for what comes next, while processes beside this one run short of it."""

import ctypes
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """All of it to the system; where the C library has no call for that (it is glibc's), nothing happens."""
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    """`malloc_trim`, or what does nothing."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no library of that name
        return lambda _: None
    return found
