"""Memory that was freed goes back to the system, where the C library can be asked for that."""

import platform
import subprocess
import sys

import pytest

from onnxcomp import freed

# Of many small blocks seven in eight are freed, but not the last: as the heap's end is in use, all of it stays.
_PROGRAM = """
import psutil
from onnxcomp.freed import give_back

def resident():
    return psutil.Process().memory_info().rss

blocks = [bytes(8192) for _ in range(40_000)]
kept = blocks[::8]
full = resident()
del blocks
freed = resident()
give_back()
print(full, freed, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has a call for it")
def test_what_lies_between_blocks_in_use_goes_back() -> None:
    said = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    full, freed, given_back = map(int, said.stdout.split())
    assert freed > 0.9 * full, "else there is nothing to give back, and the test tells nothing"
    assert given_back < 0.6 * full


def test_a_c_library_without_the_call_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freed.ctypes, "CDLL", lambda _: object())
    monkeypatch.setattr(freed, "_trim", freed._trim.__wrapped__)  # without what was found before
    freed.give_back()
