"""Finding and loading oneDNN's C library through ctypes.

Nothing is searched or loaded when this module is imported: `load()` does it once, and `available()`
says whether it worked. The library is looked for inside the installed distribution, by the
packaging metadata, so that it works in a virtual environment, a user install or a system install
alike.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import sysconfig
import threading
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_uint, c_void_p
from pathlib import Path

from cupola.ir import forks

DISTRIBUTION = "onednn-cpu-gomp"
SONAME = "libdnnl.so.3"
MAX_NDIMS = 12
Dims = c_int64 * MAX_NDIMS
UNIMPLEMENTED = 3  # a status that callers handle: no implementation for these layouts

_STATUS = (
    "success",
    "out of memory",
    "invalid arguments",
    "unimplemented",
    "last implementation reached",
    "runtime error",
    "not required",
)


class OneDNNError(RuntimeError):
    """A oneDNN call failed; `status` is the C status code (oneDNN: dnnl_status_t)."""

    def __init__(self, call: str, status: int) -> None:
        name = _STATUS[status] if status < len(_STATUS) else f"status {status}"
        super().__init__(f"oneDNN: {call} failed: {name}")
        self.status = status


class ExecArg(ctypes.Structure):
    """dnnl_exec_arg_t: an argument's index and its memory object."""

    _fields_ = (("arg", c_int), ("memory", c_void_p))


class _Version(ctypes.Structure):
    _fields_ = (
        ("major", c_int),
        ("minor", c_int),
        ("patch", c_int),
        ("hash", c_char_p),
        ("cpu_runtime", c_uint),
        ("gpu_runtime", c_uint),
    )


_P = c_void_p
_OUT = POINTER(c_void_p)
_CONV_TAIL = (POINTER(c_int64),) * 4  # strides, dilates, padding low, padding high

# name -> argument types; every one returns a status that `Library.check` turns into an error.
_PROTOTYPES: dict[str, tuple[object, ...]] = {
    "engine_create": (_OUT, c_int, c_size_t),
    "stream_create": (_OUT, _P, c_uint),
    "memory_desc_create_with_strides": (_OUT, c_int, POINTER(c_int64), c_int, POINTER(c_int64)),
    "memory_desc_create_with_tag": (_OUT, c_int, POINTER(c_int64), c_int, c_int),
    "memory_desc_clone": (_OUT, _P),
    "memory_create": (_OUT, _P, _P, _P),
    "memory_set_data_handle": (_P, _P),
    "primitive_attr_create": (_OUT,),
    "primitive_attr_set_scratchpad_mode": (_P, c_int),
    "primitive_attr_set_post_ops": (_P, _P),
    "post_ops_create": (_OUT,),
    "post_ops_append_sum": (_P, c_float, c_int32, c_int),
    "post_ops_append_eltwise": (_P, c_int, c_float, c_float),
    "post_ops_append_binary": (_P, c_int, _P),
    "post_ops_append_prelu": (_P, c_int),
    "convolution_forward_primitive_desc_create": (
        *(_OUT, _P, c_int, c_int, _P, _P, _P, _P),
        *_CONV_TAIL,
        _P,
    ),
    "convolution_backward_data_primitive_desc_create": (
        *(_OUT, _P, c_int, _P, _P, _P),
        *_CONV_TAIL,
        *(_P, _P),
    ),
    "convolution_backward_weights_primitive_desc_create": (
        *(_OUT, _P, c_int, _P, _P, _P, _P),
        *_CONV_TAIL,
        *(_P, _P),
    ),
    "matmul_primitive_desc_create": (_OUT, _P, _P, _P, _P, _P, _P),
    "reorder_primitive_desc_create": (_OUT, _P, _P, _P, _P, _P),
    "primitive_desc_query": (_P, c_int, c_int, _P),
    "primitive_create": (_OUT, _P),
    "primitive_execute": (_P, _P, c_int, POINTER(ExecArg)),
    "primitive_destroy": (_P,),
    "primitive_desc_destroy": (_P,),
    "primitive_attr_destroy": (_P,),
    "post_ops_destroy": (_P,),
    "memory_destroy": (_P,),
    "memory_desc_destroy": (_P,),
    "stream_destroy": (_P,),
    "engine_destroy": (_P,),
    "sgemm": (
        *(ctypes.c_char, ctypes.c_char, c_int64, c_int64, c_int64, c_float),
        *(_P, c_int64, _P, c_int64, c_float, _P, c_int64),
    ),
}


class Library:
    """The loaded library.

    Each function of `_PROTOTYPES` as an attribute, without the `dnnl_` prefix.
    """

    primitive_execute: Callable[..., int]
    memory_set_data_handle: Callable[..., int]

    def __init__(self, path: Path) -> None:
        # One OpenMP runtime for the process: whoever loaded libgomp.so.1 first (SciPy, torch in a
        # parity run) is the one that oneDNN's own dependency resolves to, because the soname is
        # equal.
        self.openmp = ctypes.CDLL("libgomp.so.1", mode=ctypes.RTLD_GLOBAL)
        self.openmp.omp_set_num_threads.argtypes = (c_int,)
        self.openmp.omp_set_num_threads.restype = None
        self.openmp.omp_get_max_threads.restype = c_int
        self.path = path
        dnnl = ctypes.CDLL(str(path))
        for name, argtypes in _PROTOTYPES.items():
            function = getattr(dnnl, f"dnnl_{name}")
            function.argtypes = argtypes
            function.restype = c_int
            setattr(self, name, function)
        self.memory_desc_get_size = dnnl.dnnl_memory_desc_get_size
        self.memory_desc_get_size.argtypes = (_P,)
        self.memory_desc_get_size.restype = c_size_t
        self.memory_desc_equal = dnnl.dnnl_memory_desc_equal
        self.memory_desc_equal.argtypes = (_P, _P)
        self.memory_desc_equal.restype = c_int
        self.primitive_desc_query_md = dnnl.dnnl_primitive_desc_query_md
        self.primitive_desc_query_md.argtypes = (_P, c_int, c_int)
        self.primitive_desc_query_md.restype = c_void_p
        self.get_effective_cpu_isa = dnnl.dnnl_get_effective_cpu_isa
        self.get_effective_cpu_isa.restype = c_int
        dnnl.dnnl_version.restype = POINTER(_Version)
        version = dnnl.dnnl_version().contents
        self.version = (version.major, version.minor, version.patch)
        if version.major != 3:
            raise OSError(f"{path} is oneDNN {self.version}, version 3 is needed")
        engine = c_void_p()
        self.check("engine_create", engine, 1, 0)
        self.engine = engine

    def check(self, name: str, *args: object) -> None:
        """Call `dnnl_<name>`, raising OneDNNError when its status is not success."""
        status = getattr(self, name)(*args)
        if status:
            raise OneDNNError(name, status)


class Handle:
    """An object of the C library, destroyed when its last Python reference goes.

    Ctypes takes it as it is.
    """

    __slots__ = ("_as_parameter_", "_destroy")
    live = 0  # how many exist now: what a leak test counts

    def __init__(self, library: Library, kind: str, create: str, *args: object) -> None:
        self._destroy = None
        self._as_parameter_ = c_void_p()
        library.check(create, ctypes.byref(self._as_parameter_), *args)
        self._destroy = getattr(library, f"{kind}_destroy")
        Handle.live += 1

    def __del__(self) -> None:
        if self._destroy is not None:
            self._destroy(self)
            self.__class__.live -= 1  # at interpreter exit this module's names are already gone


def _candidates() -> list[Path]:
    """Where the library may be.

    The files the distribution's metadata names, then the environment's lib folder.
    """
    paths = []
    try:
        for file in importlib.metadata.files(DISTRIBUTION) or ():
            if file.name == SONAME:
                paths.append(Path(str(file.locate())))
    except importlib.metadata.PackageNotFoundError:
        pass
    paths.append(Path(sysconfig.get_path("data")) / "lib" / SONAME)
    return [path for path in paths if path.is_file()]


_lock = forks.hold(threading.Lock())
_library: Library | None = None
_reason: str | None = None


def _load() -> tuple[Library | None, str | None]:
    if os.environ.get("CUPOLA_ONEDNN") == "0":
        return None, "oneDNN is switched off by CUPOLA_ONEDNN=0"
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "AMD64"):
        return (
            None,
            f"oneDNN is packaged for Linux on x86-64, not for {platform.machine()}",
        )
    paths = _candidates()
    if not paths:
        return None, f"{SONAME} was not found: pip install {DISTRIBUTION}"
    try:
        return Library(paths[0]), None
    except OSError as error:
        hint = (
            "; install the GNU OpenMP runtime (Debian: libgomp1)" if "libgomp" in str(error) else ""
        )
        return None, f"{SONAME} did not load: {error}{hint}"
    except (OneDNNError, AttributeError) as error:
        return None, f"{paths[0]} is not usable: {error}"


def load() -> Library:
    """The library, loaded on the first call. Raises OSError with the reason where there is none."""
    global _library, _reason
    if _library is None:
        with _lock:
            if _library is None and _reason is None:
                _library, _reason = _load()
    if _library is None:
        raise OSError(_reason)
    return _library


def available() -> bool:
    """Whether oneDNN can be used here; `reason()` says why not."""
    try:
        load()
    except OSError:
        return False
    return True


def reason() -> str | None:
    """Why oneDNN is not available, or None when it is."""
    return None if available() else _reason
