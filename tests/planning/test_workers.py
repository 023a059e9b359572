"""Work on other processes: every item is done once, by local processes and by a Dask cluster alike."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import psutil
import pytest

from onnxcomp.errors import OnnxcompError, UsageError
from onnxcomp.workers import Workers, _call, _File, cluster, local, processes_here, workers
from tests.planning.dask_cluster import running

ROOT = Path(__file__).parents[2]


def scaled(factor: list[int], item: int) -> tuple[int, int]:
    return factor[0] * item, os.getpid()


def used(shared: list[object], item: int) -> int:
    shared.append(Lock())  # which no other process can be sent
    return len(shared) + item


def read_beside(factor: list[int], item: _File) -> int:
    return factor[0] * int(item.read()[0])


def failing(_shared: object, item: int) -> int:
    raise ValueError(f"item {item}")


def killed(_shared: object, _item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module", params=["local", "cluster"])
def some(request: pytest.FixtureRequest) -> Iterator[Workers]:
    """Two processes."""
    if request.param == "local":
        with local(2) as found:
            yield found
        return
    with running() as address, cluster(address) as found:
        yield found


@pytest.mark.filterwarnings("ignore")  # dask's own
def test_every_item_is_done_once_elsewhere(some: Workers) -> None:
    found = dict(some.each(scaled, [3], range(20)))
    assert {item: value for item, (value, _) in found.items()} == {item: 3 * item for item in range(20)}
    assert os.getpid() not in {process for _, process in found.values()}
    again = dict(some.each(scaled, [4], [1, 2]))
    assert {item: value for item, (value, _) in again.items()} == {1: 4, 2: 8}


@pytest.mark.filterwarnings("ignore")
def test_what_one_worker_did_to_a_value_does_not_keep_it_from_another() -> None:
    """Dask moves work to idle workers, and what it needs with it, as it is where it is."""
    with running() as address, cluster(address) as found:
        handle = found.share([])
        client = handle.client
        handle.result(timeout=30)
        (holder,) = client.who_has(handle)[handle.key]
        others = [worker for worker in client.scheduler_info()["workers"] if worker != holder]
        for worker in (holder, *others):
            assert client.submit(_call, used, handle, 1, workers=[worker], pure=False).result(timeout=30) == 2
        assert len(others) == 1


@pytest.mark.filterwarnings("ignore")
def test_what_an_item_raises_is_raised_here(some: Workers) -> None:
    with pytest.raises(ValueError, match="item 5"):
        list(some.each(failing, None, [5]))


def test_what_is_shared_may_be_part_of_an_item() -> None:
    with local(2) as found:
        items = [found.share([factor]) for factor in (2, 3)]
        assert sorted(value for _, value in found.each(read_beside, [10], items)) == [20, 30]


def test_no_room_for_what_is_shared_is_an_error_that_says_where_there_may_be_some() -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with local(2) as found, pytest.raises(OnnxcompError, match="File too large; set TMPDIR"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
        try:
            found.share(bytes(1 << 17))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_processes_end_with_their_work() -> None:
    with local(2) as found:
        pids = {pid for _, (_, pid) in found.each(scaled, [1], range(20))}
        assert pids and not any(psutil.pid_exists(pid) for pid in pids)


def test_a_process_that_is_killed_is_an_error_of_one_line() -> None:
    with local(2) as found, pytest.raises(OnnxcompError, match="ended from outside"):
        list(found.each(killed, None, [1]))


def test_no_process_outlives_the_one_that_made_it() -> None:
    code = "from onnxcomp.workers import local\nfrom tests.planning.test_workers import scaled\nimport time\n"
    code += "if __name__ == '__main__':\n    with local(2) as some:\n"
    code += "        for _ in some.each(scaled, [1], range(50)):\n"
    code += "            print('begun', flush=True)\n            time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "begun\n"
        children = psutil.Process(parent.pid).children()
        assert len(children) >= 2
        parent.kill()
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert gone and not alive


def test_none_where_one_process_will_do() -> None:
    with workers(1, None) as found:
        assert found is None
    assert processes_here() >= 1


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "127.0.0.1:none"])
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_does_not_answer_is_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxcomp.workers.TIMEOUT", "1s")
    with pytest.raises(UsageError, match="no scheduler answers there"), workers(2, address):
        pass
