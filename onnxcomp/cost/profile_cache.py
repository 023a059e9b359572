"""The machine's profile, kept in the user's cache directory.

One file for each machine as the profile sees it: CPU, instruction set, extension library, ONNX Runtime and threads;
when one of them changes, what was measured with another is not found. A file that cannot be read is as good as none.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

import platformdirs
from pydantic import TypeAdapter, ValidationError

from onnxcomp.cost.host import host
from onnxcomp.cost.host_profile import SCHEMA, HostProfile
from onnxcomp.errors import OnnxcompError
from onnxcomp.runtime.session import library_path

_PROFILE = TypeAdapter(HostProfile)


def profile_path(threads: int | None = None) -> Path:
    """Where the profile of this machine used with `threads` is kept."""
    name = hashlib.sha256(f"{SCHEMA} {machine_words(threads)}".encode()).hexdigest()[:16]
    return platformdirs.user_cache_path("onnxcomp", appauthor=False) / f"host-{name}.json"


def machine_words(threads: int | None = None) -> str:
    """All of this machine used with `threads` that decides how long things take, as text."""
    machine = host(threads)
    return json.dumps([machine.cpu, machine.isa, _library_hash(), machine.onnxruntime, machine.threads])


def kept_profile(threads: int | None = None) -> HostProfile | None:
    """The profile that was measured earlier, or None."""
    try:
        return _PROFILE.validate_json(profile_path(threads).read_bytes())
    except (OSError, ValidationError):
        return None


def keep_profile(profile: HostProfile, threads: int | None = None) -> str | None:
    """Write `profile`, whole or not at all. Returns why it could not be kept, which is no failure, or None."""
    path = profile_path(threads)
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(_PROFILE.dump_json(profile, indent=1))
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        return f"the profile could not be kept in {path.parent}: {error.strerror or error}"
    return None


def _library_hash() -> str | None:
    try:
        return hashlib.sha256(library_path().read_bytes()).hexdigest()
    except OnnxcompError:
        return None
