"""Library calls: a table by name, then the primitive's reference on CuPy, then on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cupola.backends.cuda import convolution, indexing, matmul
from cupola.backends.cuda.device import require

Function = Callable[..., Any]

# Each takes the arrays, then the primitive's attributes by keyword.
TABLE: dict[str, Function] = {
    "matmul": matmul.matmul,
    "convolution": convolution.convolution,
    "convolution_input_grad": convolution.input_grad,
    "convolution_weight_grad": convolution.weight_grad,
    "index_rows": indexing.index_rows,
    "gather": indexing.gather,
    "scatter_rows": indexing.scatter_rows,
    "scatter": indexing.scatter,
}

_on_host: set[str] = set()
"""Primitives whose reference CuPy could not run: they go to the host at once."""


def call(op: Any, arrays: Sequence[Any], attrs: dict[str, Any], like: Any) -> Any:
    """Runs one primitive on arrays of the device; a tuple where it has several results.

    Raises:
        Exception: what the reference raises on the host, for wrong arguments.
    """
    function = TABLE.get(op.name)
    if function is not None:
        return function(*arrays, **attrs)
    cupy = require()
    if op.name not in _on_host:
        try:
            return op.reference(cupy, *arrays, **attrs)
        except (IndexError, cupy.cuda.memory.OutOfMemoryError):
            raise
        except Exception:
            # CuPy lacks a function, a dtype or an argument. If the arguments are wrong, NumPy says
            # so below.
            result = _host(op, arrays, attrs)
            _on_host.add(op.name)
            return result
    return _host(op, arrays, attrs)


def _host(op: Any, arrays: Sequence[Any], attrs: dict[str, Any]) -> Any:
    cupy = require()
    with np.errstate(all="ignore"):
        result = op.reference(np, *(cupy.asnumpy(a) for a in arrays), **attrs)
    if isinstance(result, tuple):
        return tuple(cupy.asarray(r) for r in result)
    return cupy.asarray(result)
