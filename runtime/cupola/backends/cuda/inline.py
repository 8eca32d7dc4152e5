"""Users' CUDA C: NVRTC with the toolkit's headers, machine code on disk, launches by the driver."""

from __future__ import annotations

import ctypes
import hashlib
import json
import struct
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from cupola.backends.cuda.compiler import _disk, _nvrtc, target
from cupola.backends.cuda.device import current, require
from cupola.backends.cuda.driver import _NO_CONTEXT, _name, library
from cupola.backends.inline import Rejected

_OPTIONS = ("-std=c++17", "--device-as-default-execution-space", "-w")
_STATIC_SHARED = 48 << 10  # more shared memory than this has to be asked for
_SHARED_ATTRIBUTE = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES


@lru_cache(maxsize=1)
def _include_dirs() -> tuple[str, ...]:
    """Where the toolkit's headers (cuda_fp16.h, cub) are, as far as CuPy knows."""
    cupy = require()
    found: list[str] = []
    own = Path(cupy.__file__).parent / "_core" / "include"
    for folder in (own / "cupy" / "_cccl" / n for n in ("cub", "thrust", "libcudacxx")):
        if folder.is_dir():
            found.append(str(folder))
    root = cupy.cuda.get_cuda_path()
    if root and (Path(root) / "include").is_dir():
        found.append(str(Path(root) / "include"))
    try:
        from cupy._environment import _get_include_dir_from_conda_or_wheel

        major, minor = _nvrtc()[1]
        found += _get_include_dir_from_conda_or_wheel(major, minor)
    except Exception:  # a private function of CuPy, for headers that few sources need
        pass
    import sysconfig

    for wheel in ("cu13", "cuda_runtime"):
        folder = Path(sysconfig.get_paths()["purelib"]) / "nvidia" / wheel / "include"
        if folder.is_dir():
            found.append(str(folder))
    return tuple(dict.fromkeys(found))


def image(
    text: str, expressions: Sequence[str], device: int, flags: Sequence[str], dirs: Sequence[str]
) -> tuple[bytes, dict[str, str]]:
    """Machine code, and the names in it of instantiated templates; from disk or from NVRTC.

    Raises:
        Rejected: NVRTC finds errors.
    """
    nvrtc, version, _ = _nvrtc()
    arch = target(device)
    key = hashlib.sha256(
        repr(("inline", version, arch, _OPTIONS, *flags, *dirs, *expressions, text)).encode()
    ).hexdigest()
    entry = _disk().get(key)
    if entry is None:
        entry = _build(nvrtc, text, expressions, arch, flags, dirs)
        _disk().put(key, entry)
    head, code = entry.split(b"\n", 1)
    return code, json.loads(head)


def _build(
    nvrtc: Any, text: str, expressions: Sequence[str], arch: str, flags: Any, dirs: Any
) -> bytes:
    program = nvrtc.createProgram(text, "cupola_code.cu", (), ())
    try:
        for expression in expressions:
            nvrtc.addNameExpression(program, expression)
        folders = [f"-I{d}" for d in (*dirs, *_include_dirs())]
        nvrtc.compileProgram(program, (f"-arch={arch}", *_OPTIONS, *flags, *folders))
        code = nvrtc.getCUBIN(program) if arch.startswith("sm_") else nvrtc.getPTX(program)
        names = {}
        for expression in expressions:
            name = nvrtc.getLoweredName(program, expression)
            names[expression] = name.decode() if isinstance(name, bytes) else name
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        log = log.decode() if isinstance(log, bytes) else log
        raise Rejected(log.strip() or str(error), "NVRTC") from None
    finally:
        nvrtc.destroyProgram(program)
    if isinstance(code, str):
        code = code.encode()
    return json.dumps(names).encode() + b"\n" + bytes(code)


class Loaded:
    """A translation unit on the current device.

    Raises:
        Rejected: NVRTC finds errors.
    """

    def __init__(
        self, text: str, expressions: Sequence[str], flags: Sequence[str], dirs: Sequence[str]
    ) -> None:
        from cupy.cuda.function import Module

        code, self._names = image(text, expressions, current(), flags, dirs)
        self._module = Module()
        self._module.load(code)

    def function(self, name: str) -> int:
        """The driver's handle of a kernel, by its name or name expression."""
        return int(self._module.get_function(self._names.get(name, name)).ptr)


def _refused(code: int, grid: Any, block: Any, shared: int) -> RuntimeError:
    return RuntimeError(
        f"CUDA error {code} ({_name(code)}) when launching with grid {grid}, block {block} "
        f"and {shared} bytes of shared memory"
    )


class _Config(ctypes.Structure):
    """The driver's CUlaunchConfig: sizes of grid and block, shared memory, stream, attributes."""

    _fields_ = (
        ("sizes", ctypes.c_uint * 6),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.c_void_p),
        ("count", ctypes.c_uint),
    )


class Prepared:
    """A launch of known sizes: a call puts addresses and numbers in place and queues it.

    Args:
        function: the driver's handle.
        dims: three sizes of the grid, three of a block.
        shared: bytes of shared memory, which the kernel was allowed before.
        own: the kernel's own arguments, eight bytes each.
        hidden: the hidden parameter; addresses are its first words, numbers its last.
    """

    def __init__(
        self, function: Any, dims: tuple[int, ...], shared: int, own: bytes, hidden: bytes
    ) -> None:
        self._launch = library().cuLaunchKernelEx  # four arguments to convert, not eleven
        self._function = function
        self._config = _Config((ctypes.c_uint * 6)(*dims), shared)
        self._reference = ctypes.byref(self._config)
        self._block = ctypes.create_string_buffer(own + hidden, len(own) + len(hidden))
        base = ctypes.addressof(self._block)
        addresses = [base + at for at in range(0, len(own) + 1, 8)]
        self._values = (ctypes.c_void_p * len(addresses))(*addresses)
        self._head = len(own)
        self._lock = threading.Lock()

    def __call__(self, pack: Any, addresses: Sequence[int], tail: bytes, stream: int) -> None:
        """Queues the kernel; ``pack(block, at, *addresses)`` writes the addresses.

        Raises:
            RuntimeError: the driver refuses the launch.
        """
        block = self._block
        with self._lock:
            pack(block, self._head, *addresses)
            if tail:
                block[len(block) - len(tail) :] = tail
            self._config.stream = stream
            code = self._launch(self._reference, self._function, self._values, None)
        if code:
            sizes = tuple(self._config.sizes)
            raise _refused(code, sizes[:3], sizes[3:], self._config.shared)


class Launcher:
    """Launches one kernel with its own arguments and one hidden parameter, a block of bytes.

    Args:
        function: the driver's handle.
        format: of the kernel's own arguments, eight bytes each.
        count: how many there are.
        hidden: bytes of the hidden parameter.
    """

    def __init__(self, function: int, format: str, count: int, hidden: int) -> None:
        self._own = struct.Struct("<" + format)
        self._pack = self._own.pack_into
        self._function = ctypes.c_void_p(function)
        self._launch = library().cuLaunchKernel
        own = 8 * count
        self._block = ctypes.create_string_buffer(own + max(hidden, 8))
        base = ctypes.addressof(self._block)
        self._hidden, self._hidden_size = base + own, hidden
        addresses = [base + 8 * k for k in range(count)] + [base + own]
        self._values = (ctypes.c_void_p * len(addresses))(*addresses)
        self._shared = _STATIC_SHARED
        self._lock = threading.Lock()

    def __call__(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        shared: int,
        arguments: Sequence[Any],
        hidden: bytes,
        stream: Any,
    ) -> None:
        """Queues the kernel.

        Raises:
            RuntimeError: the driver refuses the launch (a block that is too large, say).
        """
        if shared > self._shared:
            self._allow(shared)
        with self._lock:
            if arguments:
                self._pack(self._block, 0, *arguments)
            ctypes.memmove(self._hidden, hidden, self._hidden_size)
            code = self._launch(self._function, *grid, *block, shared, stream, self._values, None)
            if code in _NO_CONTEXT:
                cupy = require()
                cupy.cuda.Device().use()
                cupy.cuda.runtime.free(0)
                code = self._launch(
                    self._function, *grid, *block, shared, stream, self._values, None
                )
        if code:
            raise _refused(code, grid, block, shared)

    def prepared(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        shared: int,
        arguments: Sequence[Any],
        hidden: bytes,
    ) -> Prepared:
        """The same launch again and again, at other addresses and with other numbers."""
        own = self._own.pack(*arguments)
        return Prepared(self._function, (*grid, *block), shared, own, hidden)

    def _allow(self, shared: int) -> None:
        library().cuFuncSetAttribute(self._function, _SHARED_ATTRIBUTE, shared)
        self._shared = shared
