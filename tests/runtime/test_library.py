"""The shared library itself: what it exports and needs, how it registers, which instruction sets and builds pass."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest

from onnxcomp.formats import basis_conv, sparse_conv, sparse_gemm
from onnxcomp.formats.activation import ACTIVATIONS
from onnxcomp.runtime import session as runtime
from tests.runtime.basis_models import basis_case, basis_model
from tests.runtime.conftest import LIBRARY_VARIABLE
from tests.runtime.gemm_models import gemm_model
from tests.runtime.gemm_models import random_case as random_gemm
from tests.runtime.sparse_models import random_case, sparse_model

REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
SYSTEM_LIBRARIES = ("libc.so", "ld-linux")  # the loader is a part of the C library


def test_form_names_are_known() -> None:
    """Every operator that the format defines has a kernel: without a body, a session fails on an unknown name."""
    for op, epilogue in sparse_conv.EPILOGUES.items():
        structure = "16x1" if op.startswith("Block") else sparse_conv.UNSTRUCTURED
        case = random_case((16, 16, 1, 1), (1, 16, 4, 4))
        case.structure = structure
        case.epilogue = epilogue
        case.attributes = dict.fromkeys(sparse_conv.ACTIVATIONS[epilogue.activation], 0.5)
        case.z = case.x if epilogue.residual else None
        model = sparse_model(case)
        del model.functions[:]
        assert runtime.session(model.SerializeToString(), threads=1).get_outputs()[0].name == "Y", op


def test_gemm_form_names_are_known() -> None:
    """The same for the fully connected forms."""
    for op, form in sparse_gemm.FORMS.items():
        case = random_gemm(4, (2, 6), op=op)
        case.attributes = dict.fromkeys(ACTIVATIONS[form.activation], 0.5)
        model = gemm_model(case)
        del model.functions[:]
        assert runtime.session(model.SerializeToString(), threads=1).get_outputs()[0].name == "Y", op


def test_basis_form_names_are_known() -> None:
    """The same for convolutions with shared bases."""
    for op, epilogue in basis_conv.EPILOGUES.items():
        case = basis_case(random_case((16, 16, 1, 1), (1, 16, 4, 4)), 2)
        case.conv.epilogue = epilogue
        case.conv.attributes = dict.fromkeys(ACTIVATIONS[epilogue.activation], 0.5)
        case.conv.z = case.conv.x if epilogue.residual else None
        model = basis_model(case)
        del model.functions[:]
        assert runtime.session(model.SerializeToString(), threads=1).get_outputs()[0].name == "Y", op


def test_kernel_is_used_though_the_file_has_a_body(tmp_path: Path) -> None:
    case = random_case((8, 6, 3, 3), (1, 6, 14, 14))
    session = runtime.session(sparse_model(case).SerializeToString(), threads=1, profile=tmp_path / "profile")
    runtime.run(session, case.feed)
    profile = Path(session.end_profiling()).read_text()
    assert "SparseConv" in profile
    assert '"op_name" : "Conv"' not in profile


def test_registering_twice_through_the_helper_is_harmless() -> None:
    options = runtime.register(runtime.register(ort.SessionOptions()))
    model = sparse_model(random_case((2, 2, 1, 1), (1, 2, 4, 4)))
    assert ort.InferenceSession(model.SerializeToString(), options).get_outputs()[0].shape == [1, 2, 4, 4]


@pytest.mark.skipif(shutil.which("nm") is None, reason="binutils' nm is not installed")
def test_one_symbol_is_exported() -> None:
    symbols = subprocess.run(
        ["nm", "--dynamic", "--defined-only", runtime.library_path()], capture_output=True, text=True, check=True
    ).stdout.split()
    assert symbols[2::3] == ["RegisterCustomOps"]


@pytest.mark.skipif(shutil.which("readelf") is None, reason="binutils' readelf is not installed")
@pytest.mark.skipif(LIBRARY_VARIABLE in os.environ, reason="a sanitized library needs the sanitizers")
def test_only_the_c_library_is_needed() -> None:
    dynamic = subprocess.run(
        ["readelf", "--dynamic", runtime.library_path()], capture_output=True, text=True, check=True
    ).stdout
    needed = [line.split("[")[1].rstrip("]") for line in dynamic.splitlines() if "(NEEDED)" in line]
    assert needed
    assert [name for name in needed if not name.startswith(SYSTEM_LIBRARIES)] == []


def pytest_in_subprocess(environment: dict[str, str], *tests: str) -> None:
    """Run tests of this folder in a process of their own."""
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"]
    command += [str(FOLDER / test) for test in tests]
    result = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, f"{environment}\n{result.stdout}\n{result.stderr}"
    assert " passed" in result.stdout


@pytest.mark.parametrize("isa", ["avx512", "avx2", "portable"])
def test_every_instruction_set(isa: str) -> None:
    """Where the CPU has less than `isa`, the best it has is tested again."""
    pytest_in_subprocess(
        {"ONNXCOMP_ISA": isa},
        *("test_sparse_conv.py", "test_sparse_gemm.py", "test_unified_conv.py", "test_unified_gemm.py"),
    )


def test_unknown_instruction_set_is_refused() -> None:
    code = "from onnxcomp.runtime.session import register; import onnxruntime; register(onnxruntime.SessionOptions())"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ | {"ONNXCOMP_ISA": "sse9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "ONNXCOMP_ISA is 'sse9': use avx512, avx2 or portable" in result.stderr
