"""A part of the long test of random_shapes.py, on every instruction set that the CPU has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnxcomp.cost.host import host

ISAS = ("avx512", "avx2", "portable")
COUNT = 300


@pytest.mark.parametrize("isa", ISAS)
def test_random_shapes_equal_dense(isa: str) -> None:
    if ISAS.index(isa) < ISAS.index(host().isa):
        pytest.skip(f"this CPU has no {isa}")
    script = Path(__file__).with_name("random_shapes.py")
    done = subprocess.run(
        [sys.executable, str(script), "--count", str(COUNT)],
        env={**os.environ, "ONNXCOMP_ISA": isa},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{COUNT} cases, 0 failed" in done.stdout
