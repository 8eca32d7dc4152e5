"""The CPU as a backend."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cupola.backends.base import Array, Backend, Launch
from cupola.backends.cpu.pool import Pool
from cupola.codegen.form import Kernel
from cupola.dtypes import dtype


class CPUBackend(Backend):
    """Runs generated kernels on NumPy arrays. LLVM and the libraries are loaded when first
    needed.
    """

    name = "cpu"

    def __init__(self) -> None:
        self.pool = Pool()
        self._kernels: dict[Kernel, Launch] = {}
        self._lock = threading.Lock()
        self._launcher: Any = None
        self._calls: dict[str, Callable[..., Any]] | None = None

    @property
    def xp(self) -> Any:
        return np

    def empty(self, shape: tuple[int, ...], dtype: dtype, index: int = 0) -> Array:
        return self.pool.empty(shape, dtype.np)

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
        found = self._kernels.get(kernel)
        if found is None:
            with self._lock:
                if self._launcher is None:
                    from cupola.backends.cpu.jit import Jit
                    from cupola.backends.cpu.launch import Launcher

                    self._launcher = Launcher(Jit())
                found = self._kernels.setdefault(kernel, self._launcher.launch(kernel))
        return found

    def call(self, op: Any, arrays: Sequence[Array], attrs: dict[str, Any], like: Any) -> Any:
        if self._calls is None:
            from cupola.backends.cpu.library import calls

            self._calls = calls()
        function = self._calls.get(op.name)
        if function is not None:
            return function(*arrays, **attrs)
        with np.errstate(all="ignore"):
            return op.reference(np, *arrays, **attrs)
