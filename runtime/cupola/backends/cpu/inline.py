"""C++ text to a loaded function: the machine's compiler, with the library kept on disk."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cupola.backends.cache import DiskCache
from cupola.backends.inline import Rejected
from cupola.errors import BackendError
from cupola.ir import forks

# Loops are vectorised for the processor at hand; nothing here changes results (no fast-math).
FLAGS = (
    "-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared", "-fno-math-errno",
    "-fno-trapping-math", "-w", "-fdiagnostics-color=never", "-fno-diagnostics-show-caret",
)  # fmt: skip
_CANDIDATES = ("g++", "c++", "clang++")

_lock = forks.hold(threading.Lock())
_loaded: dict[str, Any] = {}


def compiler() -> str:
    """The C++ compiler: ``$CXX``, else the first of g++, c++ and clang++ that is found.

    Raises:
        BackendError: there is none; the text says what to install.
    """
    import shutil  # a second process finds its code on disk and compiles nothing

    given = os.environ.get("CXX")
    found = shutil.which(given) if given else None
    for name in () if given else _CANDIDATES:
        found = found or shutil.which(name)
    if found is None:
        looked = f"CXX={given}" if given else ", ".join(_CANDIDATES)
        raise BackendError(
            "cupola.code needs a C++ compiler for cpu_src, and none was found (looked for "
            f"{looked}). Install one (Debian and Ubuntu: apt-get install g++; conda: "
            "conda install gxx) or name it in the environment variable CXX. Nothing else in "
            "cupola needs one."
        )
    return found


@functools.lru_cache(maxsize=1)
def _disk() -> DiskCache:
    return DiskCache("cpu")


@functools.lru_cache(maxsize=1)
def _processor() -> str:
    """What ``-march=native`` means here, so that a shared cache holds code for each processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return line
    except OSError:
        pass
    import platform

    return f"{platform.machine()} {platform.processor()}"


def load(
    text: str,
    name: str,
    flags: Sequence[str] = (),
    include_dirs: Sequence[str] = (),
    libraries: Sequence[str] = (),
) -> Any:
    """A ctypes function of a translation unit, from memory, the disk cache or the compiler.

    Libraries are names (``m``) or paths of files. The text is the key, with the flags and the
    contents of nothing else: a header that changes needs a changed flag or text.

    Raises:
        BackendError: there is no compiler.
        Rejected: the compiler finds errors.
    """
    options = _options(flags, include_dirs, libraries)
    key = hashlib.sha256(
        repr(("inline", _processor(), os.environ.get("CXX"), FLAGS, options, text)).encode()
    ).hexdigest()
    with _lock:
        library = _loaded.get(key)
        if library is None:
            image = _disk().get(key)
            if image is None:
                image = _build(text, options)
                _disk().put(key, image)
            library = _loaded[key] = _open(image)
    return getattr(library, name)


def _options(
    flags: Sequence[str], include_dirs: Sequence[str], libraries: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    before = (*flags, *(f"-I{d}" for d in include_dirs))
    after = []
    for library in libraries:
        if os.sep in library:
            after += [library, f"-Wl,-rpath,{Path(library).resolve().parent}"]
        else:
            after.append(f"-l{library}")
    return tuple(before), tuple(after)


def _build(text: str, options: tuple[tuple[str, ...], tuple[str, ...]]) -> bytes:
    import subprocess

    program = compiler()
    with tempfile.TemporaryDirectory(prefix="cupola-") as folder:
        source, target = Path(folder) / "code.cpp", Path(folder) / "code.so"
        source.write_text(text)
        command = [program, *FLAGS, *options[0], str(source), "-o", str(target), *options[1]]
        if "clang" in Path(program).name:
            command.remove("-fno-diagnostics-show-caret")
            command.insert(1, "-fno-caret-diagnostics")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Rejected(done.stderr or done.stdout, program)
        return target.read_bytes()


def _open(image: bytes) -> Any:
    """Loads a shared library; the file is gone once it is mapped."""
    with tempfile.NamedTemporaryFile(prefix="cupola-", suffix=".so", delete=False) as file:
        file.write(image)
    try:
        return ctypes.CDLL(file.name)
    finally:
        os.unlink(file.name)
