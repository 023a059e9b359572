"""Answers that depend on an array's content alone: a search for a budget asks the same of the same weights again."""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
_MOST = 4096  # answers of one function: a network has hundreds of weights


def by_content(find: Callable[[NDArray[Any]], T]) -> Callable[[NDArray[Any]], T]:
    """`find`, called once for arrays of equal type, shape and content. Its answers are small; nobody changes them."""
    known: dict[str, T] = {}

    @wraps(find)
    def found(array: NDArray[Any]) -> T:
        content = hashlib.sha256(f"{array.dtype!r} {array.shape}".encode())
        content.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)  # bfloat16 has no buffer of its own
        key = content.hexdigest()
        if key not in known:
            if len(known) >= _MOST:
                known.pop(next(iter(known)))  # the oldest
            known[key] = find(array)
        return known[key]

    return found
