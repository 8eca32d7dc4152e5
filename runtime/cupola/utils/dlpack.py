"""Sharing memory with other array libraries (torch.utils.dlpack, torch.from_dlpack).

The CPU's side reads and writes DLPack's structures itself, since NumPy has neither bfloat16 nor
bare capsules; a GPU's arrays go through CuPy.
"""

from __future__ import annotations

import ctypes
import enum
from typing import Any

import numpy as np

from cupola import dtypes, engine
from cupola.dtypes import dtype as DType
from cupola.ir.device import device as Device
from cupola.ir.source import buffer
from cupola.tensor import Tensor, from_numpy, wrap
from cupola.tensor.alias import replay_numpy


class DLDeviceType(enum.IntEnum):
    """Where memory is, as DLPack numbers it."""

    kDLCPU = 1
    kDLCUDA = 2
    kDLCUDAHost = 3
    kDLCUDAManaged = 13


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16), ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)), ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", _DELETER)]


class _Versioned(ctypes.Structure):
    """DLPack 1's structure (DLManagedTensorVersioned)."""

    _fields_ = [
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
        ("deleter", _DELETER), ("flags", ctypes.c_uint64), ("tensor", _DLTensor),
    ]  # fmt: skip


# The newest version that is written; readers of an older major one get the first structure.
_VERSION = (1, 0)
_READ_ONLY, _COPIED = 1, 2
_INTEGER, _UNSIGNED, _FLOAT, _BFLOAT, _COMPLEX, _BOOL = 0, 1, 2, 4, 5, 6
_KINDS = {_INTEGER: "int", _UNSIGNED: "uint", _FLOAT: "float", _COMPLEX: "complex"}
# Of each structure: the capsule's name, and the one that it takes once it is used.
_FORMS: dict[Any, tuple[bytes, bytes]] = {
    _Managed: (b"dltensor", b"used_dltensor"),
    _Versioned: (b"dltensor_versioned", b"used_dltensor_versioned"),
}

_api = ctypes.pythonapi
_api.PyCapsule_New.restype = ctypes.py_object
_api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_api.PyCapsule_GetPointer.restype = ctypes.c_void_p
_api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_api.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
_api.PyCapsule_IsValid.argtypes = [ctypes.py_object, ctypes.c_char_p]


class _Owner:
    """Keeps another library's memory until the last array on it is gone."""

    def __init__(self, address: int, form: Any) -> None:
        self.address, self.form = address, form

    def __del__(self) -> None:
        managed = self.form.from_address(self.address)
        if managed.deleter:
            managed.deleter(self.address)


def _dtype(code: int, bits: int) -> DType:
    if code == _BFLOAT:
        return dtypes.bfloat16
    name = "bool" if code == _BOOL else f"{_KINDS.get(code, 'code')}{bits}"
    found = getattr(dtypes, name, None)
    if not isinstance(found, DType):
        raise BufferError(f"from_dlpack: elements of DLPack type {code} with {bits} bits")
    return found


def _of_capsule(capsule: Any) -> Tensor:
    form = next((f for f, n in _FORMS.items() if _api.PyCapsule_IsValid(capsule, n[0])), None)
    if form is None:
        raise RuntimeError(
            "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed "
            "only once, so you might have already constructed a tensor from it once."
        )
    name, used = _FORMS[form]
    address = _api.PyCapsule_GetPointer(capsule, name)
    managed = form.from_address(address)
    if form is _Versioned and managed.major > _VERSION[0]:
        raise BufferError(f"from_dlpack: DLPack {managed.major}.{managed.minor} is not known")
    t = managed.tensor
    if t.device_type == DLDeviceType.kDLCUDA:
        xp = engine.backend("cuda").xp
        array = xp.fromDlpack(capsule) if hasattr(xp, "fromDlpack") else xp.from_dlpack(capsule)
        return _of_gpu(array)
    if t.device_type not in (DLDeviceType.kDLCPU, DLDeviceType.kDLCUDAHost):
        raise BufferError(f"from_dlpack: memory of DLPack device type {t.device_type}")
    if t.lanes != 1:
        raise BufferError("from_dlpack: elements of several lanes")
    kind = _dtype(t.code, t.bits)
    shape = tuple(t.shape[k] for k in range(t.ndim))
    steps = [t.strides[k] * kind.itemsize for k in range(t.ndim)] if t.strides else None
    # Negative strides do not occur in DLPack's producers here; zero ones do.
    size = kind.itemsize + sum(
        (n - 1) * s for n, s in zip(shape, steps or np.empty(shape, kind.np).strides, strict=True)
    )
    empty = 0 in shape
    memory = (ctypes.c_char * (0 if empty else size)).from_address((t.data or 0) + t.byte_offset)
    memory.owner = _Owner(address, form)  # type: ignore[attr-defined]
    _api.PyCapsule_SetName(capsule, used)
    if empty:
        return from_numpy(np.empty(shape, kind.np))
    return from_numpy(np.ndarray(shape, kind.np, memory, 0, steps))


def _of_gpu(array: Any) -> Tensor:
    device = Device("cuda", array.device.id)
    return wrap(buffer(array, dtypes.from_numpy_dtype(array.dtype), device))


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor on the memory of another library's array (torch.from_dlpack).

    Args:
        ext_tensor: an object with ``__dlpack__``, or a capsule, which can be used once.
        device: where the tensor has to be; another device than the memory's makes a copy.
        copy: True always copies, False never.

    Raises:
        BufferError, RuntimeError: the memory or its elements cannot be taken over.
        ValueError: ``copy=False``, and the device asks for a copy.
    """
    if isinstance(ext_tensor, Tensor):
        _checked(ext_tensor)
        out = ext_tensor.detach()
    elif hasattr(ext_tensor, "__dlpack__"):
        if ext_tensor.__dlpack_device__()[0] == DLDeviceType.kDLCUDA:
            out = _of_gpu(engine.backend("cuda").xp.from_dlpack(ext_tensor))
        else:
            out = _of_capsule(_exported(ext_tensor))
    else:
        out = _of_capsule(ext_tensor)
    if device is not None and out.device != Device(device):
        if copy is False:
            raise ValueError(f"cannot move a tensor from {out.device} to {device} without copying")
        return out.to(device)
    return out.clone() if copy else out


def _exported(x: Any) -> Any:
    """The capsule of an object, in the newest form that it and we know. NumPy's arrays that cannot
    be written are passed as they are.
    """
    try:
        return x.__dlpack__(max_version=_VERSION)
    except TypeError:  # from before DLPack 1
        return x.__dlpack__()
    except BufferError:
        if isinstance(x, np.ndarray):
            return Tensor.__dlpack__(from_numpy(x))
        raise


# --- the other way

_alive: dict[int, Any] = {}


@_DELETER
def _release(address: int) -> None:
    _alive.pop(address, None)


# For a capsule that is being deleted no reference may be made: it is passed as an address.
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", ctypes.pythonapi)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _forget(capsule: int) -> None:
    """A capsule that nobody has consumed."""
    for name, _ in _FORMS.values():
        if _is_valid(capsule, name):
            _alive.pop(_pointer(capsule, name), None)


def _capsule(array: Any, kind: DType, form: Any = _Managed, copied: bool = False) -> Any:
    managed = form()
    if form is _Versioned:
        managed.major, managed.minor = _VERSION
        readable = 0 if array.flags.writeable else _READ_ONLY
        managed.flags = readable | (_COPIED if copied else 0)
    t = managed.tensor
    shape = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
    strides = (ctypes.c_int64 * max(array.ndim, 1))(*(s // array.itemsize for s in array.strides))
    t.data = array.ctypes.data
    t.device_type, t.device_id, t.ndim = DLDeviceType.kDLCPU, 0, array.ndim
    t.lanes, t.bits = 1, 8 * kind.itemsize
    if kind.name == "bfloat16":
        t.code = _BFLOAT
    elif kind.category == 0:
        t.code = _BOOL
    elif kind.category == 1:
        t.code = _INTEGER if kind.is_signed else _UNSIGNED
    else:
        t.code = _COMPLEX if kind.is_complex else _FLOAT
    t.shape = ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64))
    t.strides = ctypes.cast(strides, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = _release
    address = ctypes.addressof(managed)
    _alive[address] = (managed, shape, strides, array)
    return _api.PyCapsule_New(address, _FORMS[form][0], ctypes.cast(_forget, ctypes.c_void_p))


def _checked(x: Tensor) -> None:
    if x.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if x.device.type == "meta":
        raise BufferError("Cannot pack tensors on meta")


def _dlpack(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: Any = None,
    dl_device: Any = None,
    copy: bool | None = None,
) -> Any:
    """A capsule on this tensor's memory, for ``from_dlpack`` of another library.

    Args:
        stream: of the reader, for memory of a GPU.
        max_version: the newest version of DLPack that the reader knows, as (major, minor); the
            structure from before version 1 if there is none.
        dl_device: where the reader wants the memory, as ``__dlpack_device__`` names it.
        copy: True always copies, False never.

    Raises:
        BufferError: the tensor requires a gradient, or has elements that DLPack cannot name.
        ValueError: ``copy=False``, and the device asks for a copy.
    """
    _checked(self)
    x = self.clone() if copy else self
    if dl_device is not None and tuple(map(int, dl_device)) != tuple(map(int, _dlpack_device(x))):
        if int(dl_device[0]) != DLDeviceType.kDLCPU:
            raise BufferError("a tensor is exported to its device or to the CPU; move it with .to")
        if copy is False:
            raise ValueError(f"copy=False, and the tensor lives on {x.device}, not on the CPU")
        x, copy = x.cpu(), True
    if x.device.type == "cuda":
        return engine.array_of(x.node).__dlpack__(stream=stream)
    if x.dtype.name.startswith("float8"):
        raise BufferError(f"DLPack has no name for {x.dtype}")
    form = _Managed if max_version is None or max_version[0] < 1 else _Versioned
    storage = x._storage
    if storage is not None and storage.external is not None:
        array = replay_numpy(storage.external, x._chain)
    else:
        array = engine.to_numpy(x.node)
    return _capsule(array, x.dtype, form, bool(copy))


def _dlpack_device(self: Tensor) -> tuple[Any, int]:
    if self.device.type == "cuda":
        return DLDeviceType.kDLCUDA, self.device.index or 0
    return DLDeviceType.kDLCPU, 0


def to_dlpack(tensor: Tensor) -> Any:
    """A capsule on a tensor's memory (torch.utils.dlpack.to_dlpack); it can be used once."""
    return _dlpack(tensor)


def _cuda_array_interface(self: Tensor) -> dict[str, Any]:
    """The description of GPU memory that Numba, CuPy and others take."""
    if self.device.type != "cuda":
        raise AttributeError(
            f"Can't get __cuda_array_interface__ on non-CUDA tensor type: {self.type()} If CUDA "
            "data is required use tensor.cuda() to copy tensor to device memory."
        )
    if self.requires_grad:
        raise RuntimeError(
            "Can't get __cuda_array_interface__ on Variable that requires grad. If gradients "
            "aren't required, use var.detach() to get Variable that doesn't require grad."
        )
    found: dict[str, Any] = engine.array_of(self.node).__cuda_array_interface__
    return found


Tensor.__dlpack__ = _dlpack
Tensor.__dlpack_device__ = _dlpack_device
Tensor.__cuda_array_interface__ = property(_cuda_array_interface)

__all__ = ["DLDeviceType", "from_dlpack", "to_dlpack"]
