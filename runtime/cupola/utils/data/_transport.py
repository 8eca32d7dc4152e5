"""Sending batches between processes: arrays through shared memory, the rest through a pipe.

The shared memory is an anonymous file whose descriptor travels over the pipe's socket. It has no
name, so nothing is left behind when a process ends by an error or is killed, and a small /dev/shm
does not limit it.
"""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import pickle
from collections.abc import Callable
from multiprocessing import reduction
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from cupola import engine
from cupola.tensor import Tensor, from_numpy
from cupola.tensor.copying import _extras

# Smaller messages are cheaper to copy than to map; at most IN_FLIGHT of them wait in a socket,
# which therefore never fills from both ends at once.
_INLINE = 4096
IN_FLIGHT = 16
_ALIGNMENT = 64
_SHARED = hasattr(os, "memfd_create")


def _restore(array: np.ndarray, requires_grad: bool, extra: dict[str, Any]) -> Tensor:
    out = from_numpy(array)
    if requires_grad:
        out.requires_grad = True
    out.__dict__.update(extra)
    return out


def _typed(raw: np.ndarray, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    return raw.view(dtype).reshape(shape)


class _Pickler(ForkingPickler):
    """Tensors in host memory leave without a copy, as buffers beside the pickled text."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is not Tensor or value.device.type != "cpu":
            return NotImplemented
        array = engine.to_numpy(value.node)
        if not array.flags.c_contiguous:
            array = array.copy(order="C")
        if array.dtype.num >= 256:  # a dtype of ml_dtypes: not one that buffers describe
            raw = array.reshape(-1).view(np.uint8)
            return _restore_typed, (raw, array.dtype, array.shape, *self._flags(value))
        return _restore, (array, *self._flags(value))

    @staticmethod
    def _flags(value: Tensor) -> tuple[bool, dict[str, Any]]:
        return bool(value.requires_grad and value.is_leaf), _extras(value)


def _restore_typed(raw: np.ndarray, dtype: np.dtype, shape: tuple[int, ...], *flags: Any) -> Tensor:
    return _restore(_typed(raw, dtype, shape), *flags)


class _Mapping:
    """Shared memory in this process, given back when no array uses it; keeps no descriptor open."""

    _libc: Any = None

    def __init__(self, descriptor: int, size: int) -> None:
        if _Mapping._libc is None:
            _Mapping._libc = _libc()
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        address = self._libc.mmap(None, size, protection, mmap.MAP_SHARED, descriptor, 0)
        if address == ctypes.c_void_p(-1).value:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot map a batch of {size} bytes: {os.strerror(number)}")
        self._unmap: Callable[[int, int], int] = self._libc.munmap
        self._place = address, size
        self.__array_interface__ = {
            "version": 3,
            "data": (address, False),
            "shape": (size,),
            "typestr": "|u1",
        }

    def __del__(self) -> None:
        if hasattr(self, "_place"):
            self._unmap(*self._place)


def _libc() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    number, place = ctypes.c_int, ctypes.c_void_p
    library.mmap.argtypes = [place, ctypes.c_size_t, number, number, number, ctypes.c_int64]
    library.mmap.restype = place
    library.munmap.argtypes = [place, ctypes.c_size_t]
    return library


def send(connection: Any, value: Any) -> None:
    """Sends a picklable value.

    Raises:
        pickle.PicklingError, TypeError, AttributeError: it cannot be pickled; nothing was sent.
        OSError: the other end is closed.
    """
    parts: list[memoryview] = []
    file = io.BytesIO()
    _Pickler(file, 5, True, lambda buffer: parts.append(buffer.raw())).dump(value)
    parts.insert(0, file.getbuffer())
    if not _SHARED or sum(part.nbytes for part in parts) <= _INLINE:
        connection.send_bytes(pickle.dumps((None, [bytes(part) for part in parts])))
        return
    places, end = [], 0
    for part in parts:
        places.append((end, part.nbytes))
        end += -(-part.nbytes // _ALIGNMENT) * _ALIGNMENT
    descriptor = os.memfd_create("cupola batch", os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, end)
        for (start, _), part in zip(places, parts, strict=True):
            _write(descriptor, part, start)
        connection.send_bytes(pickle.dumps((end, places)))
        reduction.send_handle(connection, descriptor, None)
    finally:
        os.close(descriptor)


def _write(descriptor: int, part: memoryview, start: int) -> None:
    while part.nbytes:
        written = os.pwrite(descriptor, part, start)
        part, start = part[written:], start + written


def receive(connection: Any) -> Any:
    """The next value from the other end.

    Raises:
        EOFError, OSError: the other end is closed.
    """
    size, parts = pickle.loads(connection.recv_bytes())
    if size is None:
        text, *buffers = parts
        return pickle.loads(text, buffers=[bytearray(buffer) for buffer in buffers])
    descriptor = reduction.recv_handle(connection)
    try:
        memory = memoryview(np.asarray(_Mapping(descriptor, size)))
    finally:
        os.close(descriptor)
    text, *buffers = [memory[start : start + length] for start, length in parts]
    return pickle.loads(text, buffers=buffers)
