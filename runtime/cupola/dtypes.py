"""Element types and the rules by which they combine (torch.dtype, torch.promote_types)."""

from __future__ import annotations

import builtins
from typing import Any

import ml_dtypes
import numpy as np


class dtype:
    """An element type; compare by identity, as with ``torch.dtype``.

    Attributes:
        name: PyTorch's name, such as ``float32``.
        np: the NumPy dtype that stores it.
        itemsize: bytes of one element.
        is_floating_point, is_complex, is_signed: as in ``torch.dtype``.
    """

    __slots__ = (
        "category",
        "is_complex",
        "is_floating_point",
        "is_signed",
        "itemsize",
        "name",
        "np",
        "rank",
    )

    def __init__(self, name: str, storage: Any, category: int, rank: int) -> None:
        self.name = name
        self.np = np.dtype(storage)
        self.itemsize = self.np.itemsize
        self.category = category  # 0 bool, 1 integer, 2 float, 3 complex
        self.rank = rank
        self.is_floating_point = category == 2
        self.is_complex = category == 3
        self.is_signed = category >= 2 or (category == 1 and not name.startswith("u"))

    def __repr__(self) -> str:
        # Programs parse and print this text ("torch.float32"), so it stays PyTorch's.
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_by_name, (self.name,))

    def __deepcopy__(self, memo: Any) -> dtype:
        return self

    def __copy__(self) -> dtype:
        return self

    def to_complex(self) -> dtype:
        """The complex type whose parts have this type."""
        if self.is_complex:
            return self
        return {"float64": complex128, "float16": complex32}.get(self.name, complex64)

    def to_real(self) -> dtype:
        """The type of the real part."""
        return {"complex128": float64, "complex64": float32, "complex32": float16}.get(
            self.name, self
        )


bool = dtype("bool", np.bool_, 0, 0)
uint8 = dtype("uint8", np.uint8, 1, 1)
int8 = dtype("int8", np.int8, 1, 2)
uint16 = dtype("uint16", np.uint16, 1, 3)
int16 = dtype("int16", np.int16, 1, 4)
uint32 = dtype("uint32", np.uint32, 1, 5)
int32 = dtype("int32", np.int32, 1, 6)
uint64 = dtype("uint64", np.uint64, 1, 7)
int64 = dtype("int64", np.int64, 1, 8)
float8_e4m3fn = dtype("float8_e4m3fn", ml_dtypes.float8_e4m3fn, 2, 0)
float8_e5m2 = dtype("float8_e5m2", ml_dtypes.float8_e5m2, 2, 1)
float16 = dtype("float16", np.float16, 2, 2)
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, 2, 3)
float32 = dtype("float32", np.float32, 2, 4)
float64 = dtype("float64", np.float64, 2, 5)
complex32 = dtype("complex32", np.dtype([("re", np.float16), ("im", np.float16)]), 3, 0)
complex64 = dtype("complex64", np.complex64, 3, 1)
complex128 = dtype("complex128", np.complex128, 3, 2)

half, float, double, short, int, long = float16, float32, float64, int16, int32, int64
cfloat, cdouble, chalf = complex64, complex128, complex32

ALL: tuple[dtype, ...] = (
    bool,
    uint8,
    int8,
    uint16,
    int16,
    uint32,
    int32,
    uint64,
    int64,
    float8_e4m3fn,
    float8_e5m2,
    float16,
    bfloat16,
    float32,
    float64,
    complex32,
    complex64,
    complex128,
)
_BY_NAME = {d.name: d for d in ALL}
_FROM_NUMPY = {d.np: d for d in ALL}
_PYTHON_TYPES: dict[type, dtype] = {}


def _by_name(name: str) -> dtype:
    return _BY_NAME[name]


def from_numpy_dtype(np_dtype: Any) -> dtype:
    """The dtype that a NumPy dtype corresponds to.

    Raises:
        TypeError: the NumPy type has no counterpart (strings, objects, float128, ...).
    """
    native = np.dtype(np_dtype).newbyteorder("=")
    found = _FROM_NUMPY.get(native)
    if found is None:
        raise TypeError(
            f"can't convert np.ndarray of type numpy.{native.type.__name__}. "
            "The only supported types are: float64, float32, float16, complex64, complex128, "
            "int64, int32, int16, int8, uint64, uint32, uint16, uint8, and bool."
        )
    return found


_default = float32


def get_default_dtype() -> dtype:
    """The floating type of tensors built from Python floats (torch.get_default_dtype)."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Sets the floating type of tensors built from Python floats.

    Raises:
        TypeError: ``d`` is not a floating type.
    """
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _default = d


def _integer_promotion(a: dtype, b: dtype) -> dtype:
    if a.is_signed == b.is_signed:
        return a if a.itemsize >= b.itemsize else b
    signed, unsigned = (a, b) if a.is_signed else (b, a)
    if signed.itemsize > unsigned.itemsize:
        return signed
    if unsigned is uint8:
        return int16
    raise RuntimeError(
        f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote "
        f"{str(a).removeprefix('torch.')} and {str(b).removeprefix('torch.')}"
    )


_cache: dict[tuple[dtype, dtype], dtype] = {}


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest type that both operands convert to (torch.promote_types).

    Raises:
        RuntimeError: mixed signed and wide unsigned integers, as in PyTorch.
    """
    if a is b:
        return a
    found = _cache.get((a, b))
    if found is None:
        found = _cache[a, b] = _promote(a, b)
    return found


def _promote(a: dtype, b: dtype) -> dtype:
    if a.category < b.category:
        a, b = b, a
    if a.category != b.category:
        if a.is_complex and b.is_floating_point:
            return promote_types(a, b.to_complex()) if b is float64 else a
        return a
    if a.category == 1:
        return _integer_promotion(a, b)
    if a.category == 2 and {a, b} == {float16, bfloat16}:
        return float32
    return a if a.rank > b.rank else b


def asked(value: Any) -> Any:
    """The type that an argument ``dtype`` names: Python's number types stand for the widest of
    their kind; None stays None.

    Raises:
        TypeError: it names none.
    """
    if value is None or type(value) is dtype:
        return value
    found = _PYTHON.get(value) if isinstance(value, type) else None
    if found is None:
        raise TypeError(f"argument 'dtype' must be torch.dtype, not {type(value).__name__}")
    return found


_PYTHON = {
    builtins.bool: bool,
    builtins.int: int64,
    builtins.float: float64,
    builtins.complex: complex128,
}


def of_number(value: Any) -> dtype:
    """The type that a Python number takes when a tensor is made of it."""
    if isinstance(value, (builtins.bool, np.bool_)):
        return bool
    if isinstance(value, (builtins.int, np.integer)):
        return int64
    if isinstance(value, (builtins.float, np.floating)):
        return _default
    if isinstance(value, (complex, np.complexfloating)):
        return _default.to_complex()
    raise TypeError(f"expected a number, got {type(value).__name__}")
