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


_INTEGER, _UNSIGNED, _FLOAT, _BFLOAT, _COMPLEX, _BOOL = 0, 1, 2, 4, 5, 6
_KINDS = {_INTEGER: "int", _UNSIGNED: "uint", _FLOAT: "float", _COMPLEX: "complex"}
_NAME, _USED = b"dltensor", b"used_dltensor"

_api = ctypes.pythonapi
_api.PyCapsule_New.restype = ctypes.py_object
_api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_api.PyCapsule_GetPointer.restype = ctypes.c_void_p
_api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_api.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
_api.PyCapsule_IsValid.argtypes = [ctypes.py_object, ctypes.c_char_p]


class _Owner:
    """Keeps another library's memory until the last array on it is gone."""

    def __init__(self, address: int) -> None:
        self.address = address

    def __del__(self) -> None:
        managed = _Managed.from_address(self.address)
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
    if not _api.PyCapsule_IsValid(capsule, _NAME):
        raise RuntimeError(
            "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed "
            "only once, so you might have already constructed a tensor from it once."
        )
    address = _api.PyCapsule_GetPointer(capsule, _NAME)
    t = _Managed.from_address(address).tensor
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
    memory.owner = _Owner(address)  # type: ignore[attr-defined]
    _api.PyCapsule_SetName(capsule, _USED)
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
    """The capsule of an object. NumPy's arrays that cannot be written are passed as they are."""
    try:
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
    if _is_valid(capsule, _NAME):
        _alive.pop(_pointer(capsule, _NAME), None)


def _capsule(array: Any, kind: DType) -> Any:
    managed = _Managed()
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
    return _api.PyCapsule_New(address, _NAME, ctypes.cast(_forget, ctypes.c_void_p))


def _checked(x: Tensor) -> None:
    if x.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if x.device.type == "meta":
        raise BufferError("Can't export meta tensors: they hold no values")


def _dlpack(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: Any = None,
    dl_device: Any = None,
    copy: bool | None = None,
) -> Any:
    """A capsule on this tensor's memory, for ``from_dlpack`` of another library.

    Raises:
        BufferError: the tensor requires a gradient, or has elements that DLPack cannot name.
    """
    _checked(self)
    x = self.clone() if copy else self
    if x.device.type == "cuda":
        return engine.array_of(x.node).__dlpack__(stream=stream)
    if dl_device is not None and int(dl_device[0]) != DLDeviceType.kDLCPU:
        raise BufferError("a tensor on the CPU is exported to the CPU; move it with .to(device)")
    if x.dtype.name.startswith("float8"):
        raise BufferError(f"DLPack has no name for {x.dtype}")
    storage = x._storage
    if storage is not None and storage.external is not None:
        return _capsule(replay_numpy(storage.external, x._chain), x.dtype)
    return _capsule(engine.to_numpy(x.node), x.dtype)


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
