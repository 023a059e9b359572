"""How many threads linear algebra takes: on small matrices they cost more than they help."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

SMALL = 1024  # rows: a search among matrices of up to 576 took three times as long on two threads as on one


def fit_for(size: int) -> AbstractContextManager[Any]:
    """Around work on matrices (size, size): on one thread where they are small, else on as many as there are."""
    limit: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limit if size < SMALL else nullcontext()


@cache
def _controller() -> ThreadpoolController:
    """Looked for once: what libraries are loaded does not change."""
    return ThreadpoolController()
