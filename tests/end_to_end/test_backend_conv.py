"""ONNX's own Conv tests through sparse-conv: on every instruction set of this CPU, with the library and without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnxcomp.cost.host import host

REPOSITORY = Path(__file__).parents[2]
ISAS = ("portable", "avx2", "avx512")  # each has what the one before has
NAMED = {  # what must be among the cases, whatever onnx's release
    "test_basic_conv_with_padding",
    "test_conv_with_autopad_same",
    "test_conv_with_strides_and_asymmetric_padding",
    "test_Conv1d_dilated",
    "test_Conv1d_groups",
    "test_Conv2d_depthwise_with_multiplier",
    "test_Conv2d_no_bias",
}


@pytest.mark.parametrize("isa", ISAS)
def test_conv_cases(isa: str) -> None:
    best = host().isa
    if ISAS.index(isa) > ISAS.index(best):
        pytest.skip(f"this CPU has {best} at most")
    done = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.backend_conv"],
        cwd=REPOSITORY,
        env=os.environ | {"ONNXCOMP_ISA": isa, "PYTHONPATH": os.pathsep.join((str(REPOSITORY), *sys.path))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    outcomes = {one["name"]: one for one in json.loads(done.stdout)}
    flat = {name for name, one in outcomes.items() if one["dimensions"] <= 2}
    assert flat >= NAMED
    assert len(flat) >= 24 and len(outcomes) - len(flat) >= 5
    for name, one in outcomes.items():
        rewritten = name in flat
        assert one["ops"] == (["SparseConv"] if rewritten else ["Conv"]), one
        assert rewritten or "3-D" in one["declined"][0], one
        assert max(one["errors"]) <= 1, one
