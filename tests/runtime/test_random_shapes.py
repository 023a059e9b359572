"""A part of the long test of random_shapes.py, on every instruction set that the CPU has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnxcomp.cost.host import host

ISAS = ("avx512", "avx2", "portable")
COUNTS = {"SparseConv": 300, "BasisConv": 100, "UnifiedConv": 100}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("operator", COUNTS)
def test_random_shapes_equal_dense(operator: str, isa: str) -> None:
    if ISAS.index(isa) < ISAS.index(host().isa):
        pytest.skip(f"this CPU has no {isa}")
    script = Path(__file__).with_name("random_shapes.py")
    done = subprocess.run(
        [sys.executable, str(script), operator, "--count", str(COUNTS[operator])],
        env={**os.environ, "ONNXCOMP_ISA": isa},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{COUNTS[operator]} cases, 0 failed" in done.stdout
