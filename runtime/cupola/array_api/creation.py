"""Creation functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import cupola
from cupola import dtypes
from cupola.array_api.array_object import standard
from cupola.array_api.data_types import common
from cupola.dtypes import dtype as DType
from cupola.ir.device import CPU, resolve
from cupola.tensor import Tensor
from cupola.utils.dlpack import from_dlpack as _from_dlpack

_NUMBERS = (bool, int, float, complex)


@standard
def asarray(
    obj: Any, /, *, dtype: DType | None = None, device: Any = None, copy: bool | None = None
) -> Any:
    """An array of numbers, nested sequences, or another array's memory.

    Args:
        obj: array, Python number, nested sequence of these, or an object with a buffer, with
            ``__dlpack__`` or with ``__array__``.
        dtype: the result's; by default the object's, or what holds its numbers.
        device: where it is to live; by default where the object is.
        copy: True always copies, False never, None only where it has to.

    Raises:
        ValueError: ``copy=False``, and a copy is needed.
        OverflowError: an integer that the dtype does not hold.
    """
    if isinstance(obj, Tensor):
        place = obj.device if device is None else resolve(device)
        if copy is False and (place is not obj.device or dtype not in (None, obj.dtype)):
            raise ValueError("asarray: copy=False, and another dtype or device needs a copy")
        return obj.to(device=place, dtype=dtype or obj.dtype, copy=bool(copy))
    place = resolve(device)
    if isinstance(obj, _NUMBERS):
        if copy is False:
            raise ValueError("asarray: copy=False, and a Python number has no memory to share")
        return full((), obj, dtype=dtype, device=place)
    if isinstance(obj, (list, tuple, range)):
        if copy is False:
            raise ValueError("asarray: copy=False, and a sequence has no memory to share")
        return _of_sequence(obj, dtype, place)
    return _of_memory(obj, dtype, place, copy)


def _of_sequence(obj: Any, dtype: DType | None, place: Any) -> Any:
    flat = list(_leaves(obj))
    arrays = [x for x in flat if isinstance(x, Tensor)]
    if dtype is None and arrays:
        dtype = common(*flat)
    if arrays:
        obj = _without_arrays(obj)
    if dtype is None:
        array = np.asarray(obj)
        if array.size == 0:
            dtype = dtypes.get_default_dtype()
        elif array.dtype.kind in "biufc" and not isinstance(flat[0], (np.generic, np.ndarray)):
            dtype = dtypes.of_number(array.reshape(-1)[0])
            if array.dtype.kind == "u":
                raise OverflowError("asarray: an integer does not fit int64; name dtype=uint64")
    return cupola.tensor(
        np.asarray(obj, dtype=dtype.np) if dtype is not None else np.asarray(obj), device=place
    )


def _leaves(obj: Any) -> Any:
    for x in obj:
        if isinstance(x, (list, tuple)):
            yield from _leaves(x)
        else:
            yield x


def _without_arrays(obj: Any) -> Any:
    if isinstance(obj, Tensor):
        return obj.detach().cpu().numpy()
    return [_without_arrays(x) for x in obj] if isinstance(obj, (list, tuple)) else obj


def _of_memory(obj: Any, dtype: DType | None, place: Any, copy: bool | None) -> Any:
    array = obj if isinstance(obj, np.ndarray) else None
    if array is None and hasattr(obj, "__dlpack__") and not isinstance(obj, np.generic):
        made = _from_dlpack(obj)
        return asarray(made, dtype=dtype, device=place if place is not CPU else None, copy=copy)
    if array is None:
        array = np.asarray(obj)
    if copy is not True and place is CPU and dtype in (None, dtypes.from_numpy_dtype(array.dtype)):
        if all(s >= 0 for s in array.strides) and array.dtype.isnative and array.size:
            return cupola.from_numpy(array)
    if copy is False:
        raise ValueError("asarray: copy=False, and this object's memory cannot be shared")
    native = np.array(array, dtype=array.dtype.newbyteorder("="))
    return cupola.tensor(native, dtype=dtype, device=place)


@standard
def arange(
    start: Any,
    /,
    stop: Any = None,
    step: Any = 1,
    *,
    dtype: DType | None = None,
    device: Any = None,
) -> Any:
    """start, start + step, ... up to but not including stop.

    Raises:
        ValueError: the step is 0.
    """
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ValueError("arange: the step is 0")
    whole = all(isinstance(v, int) for v in (start, stop, step))
    found = dtype or (dtypes.int64 if whole else dtypes.get_default_dtype())
    count = -((start - stop) // step) if whole else math.ceil((stop - start) / step)
    place = cupola.arange(max(0, count), device=resolve(device))
    if found.category >= 2 or not whole:
        wide = place.to(dtypes.float64) * float(step) + float(start)
        return wide.to(found)
    # In two's complement, so that uint64 is computed as int64.
    return (place * _signed(step) + _signed(start)).to(found)


def _signed(n: int) -> int:
    return (n + 2**63) % 2**64 - 2**63


@standard
def empty(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Any:
    """An array whose elements are not specified."""
    return cupola.empty(_shape(shape), dtype=dtype, device=resolve(device))


@standard
def empty_like(x: Any, /, *, dtype: DType | None = None, device: Any = None) -> Any:
    """An array whose elements are not specified, shaped like x."""
    return cupola.empty_like(x, dtype=dtype, device=device)


@standard
def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: DType | None = None,
    device: Any = None,
) -> Any:
    """Ones on the k-th diagonal, zeros elsewhere."""
    place = resolve(device)
    rows = cupola.arange(n_rows, device=place)
    columns = cupola.arange(n_rows if n_cols is None else n_cols, device=place)
    width = max(n_rows, len(columns))
    shift = max(-width - 1, min(k, width + 1))
    return (rows[:, None] + shift == columns).to(dtype or dtypes.get_default_dtype())


@standard
def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Any:
    """An array on the memory of another library's."""
    return _from_dlpack(x, device=device, copy=copy)


@standard
def full(shape: Any, fill_value: Any, *, dtype: DType | None = None, device: Any = None) -> Any:
    """An array of one value; without a dtype, of the value's kind.

    Raises:
        OverflowError: an integer that the dtype does not hold.
    """
    if isinstance(fill_value, Tensor):
        dtype, fill_value = dtype or fill_value.dtype, fill_value.item()
    found = dtype or dtypes.of_number(fill_value)
    if found.category == 1 and isinstance(fill_value, int):
        limits = cupola.iinfo(found)
        if not limits.min <= fill_value <= limits.max:
            raise OverflowError(f"full: {fill_value} does not fit {found.name}")
    return cupola.full(_shape(shape), fill_value, dtype=found, device=resolve(device))


@standard
def full_like(x: Any, /, fill_value: Any, *, dtype: DType | None = None, device: Any = None) -> Any:
    """An array of one value, shaped like x."""
    return full(tuple(x.shape), fill_value, dtype=dtype or x.dtype, device=device or x.device)


@standard
def linspace(
    start: Any,
    stop: Any,
    /,
    num: int,
    *,
    dtype: DType | None = None,
    device: Any = None,
    endpoint: bool = True,
) -> Any:
    """``num`` evenly spaced numbers from start to stop, with or without the last."""
    complexes = isinstance(start, complex) or isinstance(stop, complex)
    default = dtypes.get_default_dtype()
    found = dtype or (default.to_complex() if complexes else default)
    if num < 0:
        raise ValueError(f"linspace: num is {num}")
    work = dtypes.complex128 if found.is_complex else dtypes.float64
    place = cupola.arange(num, device=resolve(device)).to(work)
    parts = num - 1 if endpoint else num
    # Each bound is divided by itself: their difference may overflow.
    step = stop / parts - start / parts if parts > 0 else 0.0
    made = place * step + (complex(start) if found.is_complex else float(start))
    made = made.floor().to(found) if found.category == 1 else made.to(found)
    if num > 0:
        made[0] = start
    if endpoint and num > 1:
        made[num - 1] = stop
    return made


@standard
def meshgrid(*arrays: Any, indexing: str = "xy") -> Any:
    """Coordinates of a grid, one array a dimension.

    Raises:
        ValueError: another indexing than xy and ij.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing is {indexing!r}, not 'xy' or 'ij'")
    grid = list(cupola.meshgrid(*arrays, indexing=indexing)) if arrays else []
    return tuple(g.clone() for g in grid)


@standard
def ones(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Any:
    """An array of ones."""
    return cupola.ones(_shape(shape), dtype=dtype, device=resolve(device))


@standard
def ones_like(x: Any, /, *, dtype: DType | None = None, device: Any = None) -> Any:
    """An array of ones, shaped like x."""
    return cupola.ones_like(x, dtype=dtype, device=device)


@standard
def tril(x: Any, /, *, k: int = 0) -> Any:
    """The part of each matrix on and below the k-th diagonal."""
    return cupola.tril(x, k)


@standard
def triu(x: Any, /, *, k: int = 0) -> Any:
    """The part of each matrix on and above the k-th diagonal."""
    return cupola.triu(x, k)


@standard
def zeros(shape: Any, *, dtype: DType | None = None, device: Any = None) -> Any:
    """An array of zeros."""
    return cupola.zeros(_shape(shape), dtype=dtype, device=resolve(device))


@standard
def zeros_like(x: Any, /, *, dtype: DType | None = None, device: Any = None) -> Any:
    """An array of zeros, shaped like x."""
    return cupola.zeros_like(x, dtype=dtype, device=device)


def _shape(shape: Any) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)
