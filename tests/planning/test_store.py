"""What was found out is kept, by several processes at once, within its bounds, and never in the way."""

import subprocess
import sys
from pathlib import Path

import pytest

from onnxcomp.store import Store


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "found.sqlite"
    assert Store(path).get("a") is None
    Store(path).put("a", b"\0 1")
    Store(path).put("b", b"")
    Store(path).put("a", b"2")
    assert (Store(path).get("a"), Store(path).get("b"), Store(path).get("c")) == (b"2", b"", None)


def test_the_oldest_is_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path / "found.sqlite", max_bytes=25)
    for name in "abcd":
        store.put(name, name.encode() * 10)
    assert [name for name in "abcd" if store.get(name) is not None] == ["c", "d"]


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0 and then nothing of the kind", b"x" * 5000])
def test_a_file_that_is_none_of_ours_is_in_nobodys_way(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "found.sqlite"
    path.write_bytes(content)
    store = Store(path)
    store.put("a", b"1")
    assert store.get("a") in (None, b"1")


def test_a_folder_that_cannot_be_made_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = Store(tmp_path / "file" / "found.sqlite")
    store.put("a", b"1")
    assert store.get("a") is None


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "found.sqlite"
    code = "import sys; from pathlib import Path; from onnxcomp.store import Store; s = Store(Path(sys.argv[1]))\n"
    code += "for i in range(40): s.put(sys.argv[2] + str(i), b'x')"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "pqr"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert all(Store(path).get(f"{name}{i}") == b"x" for name in "pqr" for i in range(40))
