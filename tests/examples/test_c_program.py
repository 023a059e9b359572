"""The C program in examples/: compiled against ONNX Runtime's own library, it gives Python's outputs to the bit."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import onnxcomp
from tests.docs.blocks import REPOSITORY

SOURCE = REPOSITORY / "examples" / "c" / "infer.c"


@pytest.fixture(scope="module")
def infer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, linked to the library that the wheel of onnxruntime brings."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    folder = tmp_path_factory.mktemp("c")
    (folder / "libonnxruntime.so.1").symlink_to(library)  # the name in it, which the wheel does not give it
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", f"-Wl,-rpath,{folder}"]
    subprocess.run([compiler, *flags, SOURCE, library, "-o", folder / "infer"], check=True)
    return folder / "infer"


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_to_the_bit(threads: int, infer: Path, tmp_path: Path) -> None:
    model, images = tmp_path / "fast.onnx", np.load(REPOSITORY / "models" / "digits.npz")["input"][:5]
    always = "fold-batchnorm,sparse-conv{when=always}"
    onnxcomp.optimize(REPOSITORY / "models" / "digits_pruned.onnx", model, passes=always, goal="size")
    images.tofile(tmp_path / "input.bin")
    command = [infer, onnxcomp.library_path(), model, tmp_path / "input.bin", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = np.array(done.stdout.split(), np.float32)
    (expected,) = onnxcomp.session(model, threads=threads).run(None, {"input": images})
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("bytes_", "words"), [(4, "no whole samples"), (0, "float32"), (1023, "float32"), (None, "cannot be read")]
)
def test_wrong_input_is_said(bytes_: int | None, words: str, infer: Path, tmp_path: Path) -> None:
    if bytes_ is not None:
        (tmp_path / "input.bin").write_bytes(bytes(bytes_))
    command = [infer, onnxcomp.library_path(), REPOSITORY / "models" / "digits.onnx", tmp_path / "input.bin", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and words in done.stderr
