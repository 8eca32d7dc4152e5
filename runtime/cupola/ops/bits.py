"""Reductions over the bits of integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from cupola.ops.custom import host_function
from cupola.ops.linalg import on_host
from cupola.ops.reduce import _infer


def _xor(x: Any, dims: tuple[int, ...]) -> Any:
    for d in dims:
        x = np.bitwise_xor.reduce(x, axis=d, keepdims=True)
    return x


# Exclusive or over ``dims``, which stay with size 1.
xor = host_function("xor", on_host(_xor), _infer)
