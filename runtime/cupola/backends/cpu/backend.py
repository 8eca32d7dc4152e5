"""The CPU as a backend."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cupola.backends.base import Array, Backend, Launch
from cupola.backends.cpu.pool import Pool
from cupola.codegen.form import Kernel, negative_zeros
from cupola.dtypes import dtype
from cupola.ir import forks

_RECENT = 1 << 14  # kernels found by identity


class CPUBackend(Backend):
    """Runs generated kernels on NumPy arrays. LLVM and the libraries are loaded when first
    needed.
    """

    name = "cpu"
    packs = True

    def __init__(self) -> None:
        self.pool = Pool()
        self._kernels: dict[tuple[Kernel, tuple[int, ...]], Launch] = {}
        self._many: dict[Any, Callable[[Sequence[Any]], None]] = {}
        self._recent: dict[int, tuple[Kernel, Launch]] = {}
        self._lock = forks.hold(threading.Lock())
        self._launcher: Any = None
        self._calls: dict[str, Callable[..., Any]] | None = None
        self._winograd: Any = None

    @property
    def xp(self) -> Any:
        return np

    def empty(self, shape: tuple[int, ...], dtype: dtype, index: int = 0) -> Array:
        return self.pool.empty(shape, dtype.np)

    def memory(self, index: int = 0) -> tuple[int, int]:
        return self.pool.live, self.pool.most

    def strided(
        self, base: Array, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
    ) -> Array:
        if base.flags.c_contiguous and offset >= 0:
            # NumPy checks the bounds, and needs a tenth of the time of ``as_strided``.
            return np.ndarray(shape, base.dtype, base, offset, strides)
        return super().strided(base, shape, strides, offset)

    def from_numpy(self, array: Any, index: int = 0) -> Array:
        """The array itself, or a copy if its memory cannot be addressed in whole elements of native
        byte order.
        """
        array = np.asarray(array)
        if (
            not array.flags.aligned
            or not array.dtype.isnative
            or any(s % array.itemsize for s in array.strides)
        ):
            return array.astype(array.dtype.newbyteorder("="), order="C")
        return array

    def to_numpy(self, array: Array) -> Any:
        return array

    def compile(self, kernel: Kernel) -> Launch:
        # A plan brings the same object at every run; hashing it costs more than launching it.
        recent = self._recent.get(id(kernel))
        if recent is not None:
            return recent[1]
        key = (kernel, negative_zeros(kernel))
        found = self._kernels.get(key)
        if found is None:
            launcher = self.launcher()
            with self._lock:
                found = self._kernels.setdefault(key, launcher.launch(kernel))
        if len(self._recent) >= _RECENT:
            self._recent.clear()
        self._recent[id(kernel)] = (kernel, found)
        return found

    def launcher(self) -> Any:
        """What compiles and launches, made when first needed."""
        with self._lock:
            if self._launcher is None:
                from cupola.backends.cpu.jit import Jit
                from cupola.backends.cpu.launch import Launcher

                self._launcher = Launcher(Jit())
        return self._launcher

    def compile_many(self, kernel: Kernel) -> Callable[[Sequence[Any]], None]:
        key = (kernel, negative_zeros(kernel))
        found = self._many.get(key)
        if found is None:
            self.compile(kernel)
            from cupola.backends.cpu.many import launch_many

            found = self._many[key] = launch_many(self._launcher, kernel)
        return found

    def call(self, op: Any, arrays: Sequence[Array], attrs: dict[str, Any], like: Any) -> Any:
        if self._calls is None:
            from cupola.backends.cpu.blas import Products
            from cupola.backends.cpu.heavy import Memory, heavy_ops
            from cupola.backends.cpu.library import calls
            from cupola.backends.cpu.team import Team
            from cupola.backends.cpu.winograd import Winograd

            Memory.empty = staticmethod(self.pool.empty)
            heavy, team = heavy_ops(), Team(self.launcher)
            self._winograd = Winograd(heavy, team, self.pool)
            self._calls = calls(heavy, self._winograd, Products(team), self.pool)
        function = self._calls.get(op.name)
        if function is not None:
            return function(*arrays, **attrs)
        with np.errstate(all="ignore"):
            result = op.reference(np, *arrays, **attrs)
        # NumPy gives scalars for arrays without dimensions; a kernel reads memory by its address.
        return np.asarray(result) if isinstance(result, np.generic) else result

    def forget(self, keys: Sequence[Any]) -> None:
        from cupola.backends.cpu.heavy import heavy_ops

        for key in keys:
            heavy_ops().forget(key)
            if self._winograd is not None:
                self._winograd.forget(key)
