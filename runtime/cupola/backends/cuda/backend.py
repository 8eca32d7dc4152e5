"""The CUDA backend: CuPy's memory, generated kernels, vendor libraries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cupola.backends.base import Array, Backend, Launch, NotRecorded
from cupola.backends.cuda import library
from cupola.backends.cuda.device import device_count, require
from cupola.backends.cuda.flags import flags
from cupola.backends.cuda.graph import Graph
from cupola.backends.cuda.launch import KernelLaunch
from cupola.backends.cuda.many import ManyLaunch
from cupola.backends.cuda.replay import Replay
from cupola.backends.limit import memory_limit
from cupola.codegen.form import Kernel, negative_zeros
from cupola.dtypes import dtype
from cupola.errors import BackendError

_PART = 3  # the part of a device's memory that recorded runs may hold: a third


class CUDABackend(Backend):
    """NVIDIA GPUs.

    Raises:
        BackendError: CuPy or a GPU is missing; the text says what to install.
    """

    name = "cuda"
    records = True

    def __init__(self) -> None:
        self._xp = require()
        self._room = [self._limited(index) for index in range(device_count())]
        self._launches: dict[Kernel, KernelLaunch] = {}
        self._many: dict[Any, ManyLaunch] = {}
        # Looking a kernel up by value hashes all of it; by identity it is one dictionary access.
        self._known: dict[int, tuple[Kernel, KernelLaunch]] = {}

    @property
    def xp(self) -> Any:
        return self._xp

    def _limited(self, index: int) -> int:
        """Bytes of a device that arrays may take, which the pool is told."""
        with self._xp.cuda.Device(index):
            total = int(self._xp.cuda.runtime.memGetInfo()[1])
            limit = memory_limit(total)
            if limit is not None:
                self._xp.get_default_memory_pool().set_limit(size=limit)
        return total if limit is None else min(limit, total)

    def memory(self, index: int = 0) -> tuple[int, int]:
        pool = self._xp.get_default_memory_pool()
        if device_count() == 1:
            return int(pool.used_bytes()), self._room[index]
        with self._on(index):
            return int(pool.used_bytes()), self._room[index]

    def _on(self, index: int) -> Any:
        """A context in which device ``index`` is current.

        Raises:
            BackendError: there is no such device.
        """
        if not 0 <= index < device_count():
            raise BackendError(
                f"device cuda:{index} was asked for, but this machine has {device_count()} GPUs "
                "(cuda:0 is the first)"
            )
        return self._xp.cuda.Device(index)

    def empty(self, shape: tuple[int, ...], dtype: dtype, index: int = 0) -> Array:
        if index == 0 and device_count() == 1:
            return self._xp.empty(shape, dtype.np)
        with self._on(index):
            return self._xp.empty(shape, dtype.np)

    def from_numpy(self, array: Any, index: int = 0) -> Array:
        with self._on(index):
            return self._xp.array(array, copy=True, order="C")

    def to_numpy(self, array: Array) -> Any:
        return self._xp.asnumpy(array, order="C")

    def compile(self, kernel: Kernel) -> Launch:
        known = self._known.get(id(kernel))
        if known is not None:
            return known[1]
        found = self._launches.get(kernel)
        if found is None:
            found = self._launches[kernel] = KernelLaunch(kernel)
        self._known[id(kernel)] = (kernel, found)  # holding the kernel keeps its identity its own
        return found

    def compile_many(self, kernel: Kernel) -> Callable[[Sequence[Any]], None]:
        key = (kernel, negative_zeros(kernel))
        found = self._many.get(key)
        if found is None:
            found = self._many[key] = ManyLaunch(kernel)
        return found

    def call(self, op: Any, arrays: Sequence[Array], attrs: dict[str, Any], like: Any) -> Any:
        return library.call(op, arrays, attrs, like)

    def synchronize(self, index: int = 0) -> None:
        with self._on(index):
            self._xp.cuda.runtime.deviceSynchronize()

    def record(self, function: Callable[[], list[Array]], index: int = 0) -> Graph:
        return Graph(function, index)

    def repeats(self, op: Any) -> bool:
        return op.name in library.REPEATED

    def settings(self) -> Any:
        return tuple(vars(flags).values())

    def address(self, array: Array) -> int:
        return int(array.data.ptr)

    def replay(
        self,
        function: Callable[[dict[Any, Array], Any], dict[Any, Array]],
        arrays: dict[Any, Array],
        fed: Sequence[Any],
        index: int,
        held: int,
    ) -> Replay:
        with self._on(index):
            limit = self._room[index] // _PART - held
        if limit <= 0:
            raise NotRecorded("other recorded runs hold all the memory that they may")
        return Replay(function, arrays, fed, index, limit)
