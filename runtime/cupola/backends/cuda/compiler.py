"""CUDA C text to a loaded function: NVRTC, with the machine code kept on disk."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from cupola.backends.cache import DiskCache
from cupola.backends.cuda.device import capability, current, require

_OPTIONS = ("-std=c++17",)


@lru_cache(maxsize=1)
def _disk() -> DiskCache:
    return DiskCache("cuda")


@lru_cache(maxsize=1)
def _nvrtc() -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    require()
    from cupy_backends.cuda.libs import nvrtc

    return nvrtc, tuple(nvrtc.getVersion()), tuple(sorted(nvrtc.getSupportedArchs()))


def target(device: int) -> str:
    """NVRTC's target: machine code for the device, or PTX if it is newer than NVRTC."""
    have, known = capability(device), _nvrtc()[2]
    return f"sm_{have}" if have in known else f"compute_{max(k for k in known if k <= have)}"


def machine_code(text: str, name: str, device: int) -> bytes:
    """A loadable image of a translation unit, from the disk cache or from NVRTC.

    Raises:
        RuntimeError: NVRTC rejects the text; its log and the text are in the message.
    """
    nvrtc, version, _ = _nvrtc()
    arch = target(device)
    key = hashlib.sha256(repr((version, arch, _OPTIONS, text)).encode()).hexdigest()
    found = _disk().get(key)
    if found is not None:
        return found
    program = nvrtc.createProgram(text, f"{name}.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"-arch={arch}", *_OPTIONS))
        image = nvrtc.getCUBIN(program) if arch.startswith("sm_") else nvrtc.getPTX(program)
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        raise RuntimeError(f"NVRTC rejects a generated kernel: {error}\n{log}\n{text}") from None
    finally:
        nvrtc.destroyProgram(program)
    if isinstance(image, str):
        image = image.encode()
    _disk().put(key, image)
    return bytes(image)


_functions: dict[tuple[str, int], tuple[Any, int]] = {}


def function(text: str, name: str) -> int:
    """The driver's handle of a function of a translation unit, on the current device."""
    device = current()
    found = _functions.get((text, device))
    if found is None:
        from cupy.cuda.function import Module

        module = Module()
        module.load(machine_code(text, name, device))
        found = _functions[text, device] = (module, int(module.get_function(name).ptr))
    return found[1]
