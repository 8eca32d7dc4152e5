"""Data type functions and type promotion."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import cupola
from cupola import dtypes
from cupola.array_api.array_object import standard
from cupola.dtypes import bool as bool_
from cupola.dtypes import (
    complex64,
    complex128,
    dtype,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from cupola.ir.device import resolve
from cupola.tensor import Tensor

SIGNED = {"int8": int8, "int16": int16, "int32": int32, "int64": int64}
UNSIGNED = {"uint8": uint8, "uint16": uint16, "uint32": uint32, "uint64": uint64}
REAL = {"float32": float32, "float64": float64}
COMPLEX = {"complex64": complex64, "complex128": complex128}
KINDS: dict[str, dict[str, dtype]] = {
    "bool": {"bool": bool_},
    "signed integer": SIGNED,
    "unsigned integer": UNSIGNED,
    "integral": {**SIGNED, **UNSIGNED},
    "real floating": REAL,
    "complex floating": COMPLEX,
    "numeric": {**SIGNED, **UNSIGNED, **REAL, **COMPLEX},
}


@functools.cache
def promote(a: dtype, b: dtype) -> dtype:
    """The dtype of an operation on arrays of two dtypes.

    Raises:
        TypeError: uint64 with a signed type: there is no integer that holds both.
    """
    if a.category == b.category == 1 and a.is_signed != b.is_signed:
        signed, unsigned = (a, b) if a.is_signed else (b, a)
        if signed.itemsize > unsigned.itemsize:
            return signed
        if unsigned is uint64:
            raise TypeError(
                f"{a.name} and {b.name} have no common type; convert one of them with astype"
            )
        return SIGNED[f"int{16 * unsigned.itemsize}"]
    return dtypes.promote_types(a, b)


def with_number(d: dtype, value: Any) -> dtype:
    """The dtype of an operation on an array and a Python number: the array's, if its kind holds
    the number's.
    """
    kind = dtypes.of_number(value)
    if kind.category <= d.category:
        return d
    if d.category == 2:  # a complex number beside real ones
        return d.to_complex()
    return kind


def common(*xs: Any) -> dtype:
    """The dtype of an operation on arrays, dtypes and Python numbers.

    Raises:
        ValueError: only numbers, or nothing.
        TypeError: something else was given, or the dtypes do not promote.
    """
    found: dtype | None = None
    for x in xs:
        d = x.dtype if isinstance(x, Tensor) else x
        if isinstance(d, dtype):
            found = d if found is None else promote(found, d)
        elif not isinstance(d, (int, float, complex)):
            raise TypeError(f"expected arrays, dtypes or numbers, got {type(x).__name__}")
    if found is None:
        raise ValueError("at least one array or dtype is needed")
    for x in xs:
        if not isinstance(x, (Tensor, dtype)):
            found = with_number(found, x)
    return found


def result_type(*arrays_and_dtypes: Any) -> dtype:
    """The dtype that type promotion gives for arrays, dtypes and Python numbers."""
    return common(*arrays_and_dtypes)


def can_cast(from_: Any, to: dtype, /) -> bool:
    """Whether type promotion leads from one dtype (or an array's) to another."""
    source = from_.dtype if isinstance(from_, Tensor) else from_
    for given in (source, to):
        if not isinstance(given, dtype):
            raise TypeError(f"can_cast: expected a dtype, got {type(given).__name__}")
    if source.category != to.category and {source.category, to.category} != {2, 3}:
        return False
    try:
        return promote(source, to) is to
    except TypeError:
        return False


@standard
def astype(x: Any, dtype: dtype, /, *, copy: bool = True, device: Any = None) -> Any:
    """An array converted to another dtype (and device).

    Raises:
        TypeError: complex numbers to a real dtype; take ``real(x)`` first.
    """
    if x.dtype.is_complex and not dtype.is_complex and dtype is not bool_:
        raise TypeError(f"astype: {x.dtype.name} to {dtype.name} drops the imaginary part")
    place = x.device if device is None else resolve(device)
    return x.to(device=place, dtype=dtype, copy=copy)


class finfo_object(NamedTuple):
    """Limits of a floating type."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: dtype


class iinfo_object(NamedTuple):
    """Limits of an integer type."""

    bits: int
    max: int
    min: int
    dtype: dtype


def finfo(type: Any, /) -> finfo_object:
    """Limits of a floating dtype, or of an array's; of a complex one, its parts'."""
    found = (type.dtype if isinstance(type, Tensor) else type).to_real()
    info = cupola.finfo(found)
    return finfo_object(info.bits, info.eps, info.max, info.min, info.smallest_normal, found)


def iinfo(type: Any, /) -> iinfo_object:
    """Limits of an integer dtype, or of an array's."""
    found = type.dtype if isinstance(type, Tensor) else type
    info = cupola.iinfo(found)
    return iinfo_object(info.bits, info.max, info.min, found)


def isdtype(dtype: dtype, kind: Any) -> bool:
    """Whether a dtype is of a kind: a dtype, a kind's name, or a tuple of these.

    Raises:
        ValueError: a name that is no kind.
        TypeError: something else.
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str):
        if kind not in KINDS:
            raise ValueError(f"isdtype: unknown kind {kind!r}; kinds are {', '.join(KINDS)}")
        return any(dtype is d for d in KINDS[kind].values())
    if isinstance(kind, dtypes.dtype):
        return dtype is kind
    raise TypeError(f"isdtype: expected a dtype, a name or a tuple, got {type(kind).__name__}")


__all__ = ["astype", "can_cast", "finfo", "iinfo", "isdtype", "result_type"]
