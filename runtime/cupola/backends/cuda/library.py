"""Library calls: a table by name, then the primitive's reference on CuPy, then on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cupola.backends.cuda import attention, convolution, gemm, indexing
from cupola.backends.cuda.device import capturing, require
from cupola.ops import fused

Function = Callable[..., Any]


def _fused(
    x: Any, w: Any, *extra: Any, bias: bool, residual: bool, last: bool, **attrs: Any
) -> Any:
    added = extra[-1] if residual else None
    if last:
        x, w = fused.first(x), fused.first(w)
        added = None if added is None else fused.first(added)
    y = convolution.convolution(
        x, w, bias=extra[0] if bias else None, residual=added, channels_last=last, **attrs
    )
    return fused.last(y) if last else y


def _input_grad_last(g: Any, w: Any, *, x_shape: Any, **attrs: Any) -> Any:
    shape = fused.first_shape(x_shape)
    return fused.last(
        convolution.input_grad(fused.first(g), fused.first(w), shape, channels_last=True, **attrs)
    )


def _weight_grad_last(g: Any, x: Any, **attrs: Any) -> Any:
    return convolution.weight_grad(fused.first(g), fused.first(x), channels_last=True, **attrs)


def _product(
    a: Any, b: Any, *extra: Any, bias: bool, residual: bool, activation: str | None
) -> Any:
    return gemm.matmul(
        a, b, extra[0] if bias else None, activation or "", extra[-1] if residual else None
    )


def _cat(*arrays: Any, dim: int) -> Any:
    """Arrays joined. While a run is recorded each is copied by itself: CuPy would read their
    addresses from the host.
    """
    xp = require()
    if not capturing():
        return xp.concatenate(arrays, axis=dim)
    sizes = [a.shape[dim] for a in arrays]
    shape = (*arrays[0].shape[:dim], sum(sizes), *arrays[0].shape[dim + 1 :])
    out = xp.empty(shape, arrays[0].dtype)
    start = 0
    for array, size in zip(arrays, sizes, strict=True):
        out[(slice(None),) * dim + (slice(start, start + size),)] = array
        start += size
    return out


def _code(*arrays: Any, operator: Any, **rest: Any) -> Any:
    """A source that the user wrote; what it raises is the user's to see."""
    return operator.run(require(), arrays, **rest)


# Each takes the arrays, then the primitive's attributes by keyword.
TABLE: dict[str, Function] = {
    "matmul": gemm.matmul,
    "matmul_fused": _product,
    "convolution": convolution.convolution,
    "convolution_fused": _fused,
    "convolution_input_grad": convolution.input_grad,
    "convolution_input_grad_last": _input_grad_last,
    "convolution_weight_grad": convolution.weight_grad,
    "convolution_weight_grad_last": _weight_grad_last,
    "attention": attention.attention,
    "attention_grad": attention.attention_grad,
    "index_rows": indexing.index_rows,
    "gather": indexing.gather,
    "scatter_rows": indexing.scatter_rows,
    "scatter": indexing.scatter,
    "cat": _cat,
    "code": _code,
}

# Calls that may be recorded and repeated: they wait for nothing, and do nothing but compute.
REPEATED = frozenset(TABLE) - {"code"} | {
    "item", "cumsum", "fold", "pool_take", "pool_put", "slice_update", "as_strided",
    "as_strided_update", "as_strided_add",
}  # fmt: skip

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
