"""Work on several processes: one function over many items, beside a value that all of them share.

Any `concurrent.futures.Executor` will do. There are two: processes of this machine, and those of a Dask cluster by its
address, through `dask.distributed`'s own executor.
"""

import os
import pickle
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread, get_ident
from typing import Any, TypeVar, cast

from threadpoolctl import threadpool_limits

from onnxcomp.errors import OnnxcompError, UsageError
from onnxcomp.freed import give_back

TIMEOUT = "10s"  # for a scheduler to answer
S = TypeVar("S")
I = TypeVar("I")  # noqa: E741
R = TypeVar("R")


@dataclass(frozen=True)
class Workers:
    """What opens an executor, and how a value gets to its processes once; `remote`: they may be on other machines.

    Where they are processes here, what `share` returns may be part of an item, and has the value there by `read`.
    """

    open: Callable[[], AbstractContextManager[Executor]]
    share: Callable[[object], Any]
    remote: bool = False

    def each(self, function: Callable[[S, I], R], shared: S, items: Sequence[I]) -> Iterator[tuple[I, R]]:
        """Every item with `function(shared, item)`, as they are finished.

        All are picklable, `function` by its name. What it raises is raised here; what was not begun then is not.
        Processes of this machine end with their work, and give back what they kept for it.
        """
        handle = self.share(shared)
        give_back()  # a network as one message was here several times, field by field and as bytes
        with self.open() as executor:
            futures: dict[Future[R], I] = {executor.submit(_call, function, handle, item): item for item in items}
            try:
                for future in as_completed(futures):
                    yield futures[future], future.result()
            except BrokenExecutor as error:
                raise OnnxcompError("one of the processes was ended from outside, short of memory perhaps") from error
            finally:
                for future in futures:
                    future.cancel()


@contextmanager
def workers(processes: int, address: str | None) -> Iterator[Workers | None]:
    """Those of the cluster at `address`, else so many processes here, or None where one will do."""
    if address is not None:
        with cluster(address) as found:
            yield found
    elif processes > 1:
        with local(processes) as found:
            yield found
    else:
        yield None


@contextmanager
def local(processes: int) -> Iterator[Workers]:
    """So many processes of this machine, each of which calculates on one thread."""
    with tempfile.TemporaryDirectory(prefix="onnxcomp-") as folder:
        yield Workers(
            lambda: ProcessPoolExecutor(processes, get_context("spawn"), _begin),
            lambda value: _kept(Path(folder), value),
        )


@contextmanager
def cluster(address: str) -> Iterator[Workers]:
    """The workers of the Dask cluster at `address`. UsageError where it does not answer, or dask is not installed."""
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("--cluster needs dask: pip install 'onnxcomp[cluster]'") from error
    try:
        client: Any = cast(Any, Client)(address, timeout=TIMEOUT)
    except (OSError, ValueError) as error:
        raise UsageError(f"--cluster {address}: no scheduler answers there: {error}") from error
    with client:
        # A task's result goes from worker to worker as it is needed: as bytes, since what was used may not be picklable
        # any more, and a copy that fails is waited for as long as the cluster lives.
        yield Workers(
            lambda: nullcontext(client.get_executor(pure=False)),
            lambda value: client.submit(_Message, pickle.dumps(value, pickle.HIGHEST_PROTOCOL), pure=False),
            remote=True,
        )


def processes_here() -> int:
    """How many processes this one may keep busy."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class _File:
    """A value in a file."""

    path: Path

    def read(self) -> Any:
        """A new one each time."""
        with self.path.open("rb") as stream:
            return pickle.load(stream)

    @lru_cache(maxsize=1)  # noqa: B019 - the process ends with its work
    def kept(self) -> Any:
        """The same for all that one process does with it."""
        return self.read()


class _Message:
    """A value as bytes: what one thread does with what it read is no business of another's, nor sent on."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._read: dict[int, Any] = {}

    def __reduce__(self) -> tuple[type["_Message"], tuple[bytes]]:
        return _Message, (self._content,)

    def kept(self) -> Any:
        """The same for all that one thread does with it."""
        thread = get_ident()
        if thread not in self._read:
            self._read[thread] = pickle.loads(self._content)
        return self._read[thread]


def _kept(folder: Path, value: object) -> _File:
    try:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            pickle.dump(value, file, pickle.HIGHEST_PROTOCOL)
    except OSError as error:
        raise OnnxcompError(
            f"{folder.parent}: what other processes need cannot be put there: {error.strerror}; "
            "set TMPDIR to a folder with room"
        ) from error
    return _File(Path(file.name))


def _call(function: Callable[[Any, Any], R], shared: _File | _Message, item: object) -> R:
    return function(shared.kept(), item)


def _begin() -> None:
    """Of a process: Ctrl-C is for the one that gave it its work, and threads are for as many processes as there are."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
    parent = parent_process()
    assert parent is not None, "runs in a child"
    Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: BaseProcess) -> None:
    """A process whose parent was killed would wait for work for ever."""
    parent.join()
    os._exit(1)
