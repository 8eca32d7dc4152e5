"""Plain NumPy, every primitive through its reference: the oracle for the other backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cupola.backends.base import Array, Backend, Launch
from cupola.codegen.form import Kernel
from cupola.dtypes import dtype


class ReferenceBackend(Backend):
    """Generates nothing and optimises nothing."""

    name = "reference"
    generates = False

    @property
    def xp(self) -> Any:
        return np

    def empty(self, shape: tuple[int, ...], dtype: dtype, index: int = 0) -> Array:
        return np.empty(shape, dtype.np)

    def from_numpy(self, array: Any, index: int = 0) -> Array:
        return np.asarray(array)

    def to_numpy(self, array: Array) -> Any:
        return array

    def compile(self, kernel: Kernel) -> Launch:
        raise NotImplementedError("the reference backend runs primitives by `call`, not kernels")

    def call(self, op: Any, arrays: Sequence[Array], attrs: dict[str, Any], like: Any) -> Any:
        with np.errstate(all="ignore"):
            return op.reference(np, *arrays, **attrs)
