"""Uniform integers and permutations: torch.randint, Tensor.random_, torch.randperm."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from cupola import dtypes

from .generator import CPUGenerator, drawing
from .layout import in_layout
from .rounding import FLOATING, digits, largest, narrow
from .stream import BLOCK, Stream, join64

# From this many values on, torch takes 64 random bits so that the remainder stays even.
WIDE_RANGE = 1 << 28
# From this length on, randperm takes 64 bits a swap and swaps with an earlier element.
WIDE_PERMUTATION = (1 << 32) // 20

_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1
_RANDOM_TYPES = ("uint8", "int8", "int16", "int32", "int64", "bool", *FLOATING)


def randint(
    shape: Sequence[int],
    low: int,
    high: int | None,
    dtype: dtypes.dtype = dtypes.int64,
    *,
    strides: Sequence[int] | None = None,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """Integers of [low, high), as any dtype (torch.randint, Tensor.random_(low, high)).

    The remainder of one word, or of two where the range counts 2^28 values or more. ``high`` of
    None means up to the dtype's largest value (for floats 2 to the number of its digits).

    Shapes: shape. Raises RuntimeError for an empty range or one that leaves the dtype's.
    """
    count = prod(shape)
    if high is None and low == _INT64_MIN:
        if dtype.name not in ("int64", "float32", "float64", "bfloat16"):
            raise RuntimeError(
                f"random_ over all of int64 handles only int64, double, float and bfloat16, "
                f"not {dtype}; give it a range"
            )
        span = 0
    else:
        low, high = _range(dtype, low, high)
        span = high - low
    out = np.empty(count, dtype.np)
    with drawing(generator) as source:
        for start in range(0, count, BLOCK):
            part = out[start : start + BLOCK]
            part[...] = _block(source.stream, part.size, span, low, dtype)
    return in_layout(out, shape, strides)


def _block(stream: Stream, count: int, span: int, low: int, dtype: dtypes.dtype) -> np.ndarray:
    if span == 0:
        return _from_int64(join64(stream.words(2 * count)).view(np.int64), dtype)
    if span < WIDE_RANGE:
        words = stream.words(count)
        if span & (span - 1):
            words %= np.uint32(span)
        else:
            words &= np.uint32(span - 1)
        values = words.view(np.int32).astype(np.int64)
    else:
        values = (join64(stream.words(2 * count)) % np.uint64(span)).view(np.int64)
    if low:
        values += np.int64(low)
    return _from_int64(values, dtype)


def _from_int64(values: np.ndarray, dtype: dtypes.dtype) -> np.ndarray:
    if dtype.name in ("float16", "bfloat16"):
        values = values.astype(np.float32)
    return narrow(values, dtype)


def _range(dtype: dtypes.dtype, low: int, high: int | None) -> tuple[int, int]:
    """The bounds that torch really draws from; ``high`` is exclusive."""
    if high is not None and low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    if dtype.is_floating_point and dtype.name in FLOATING:
        if high is None:
            high = min(1 << digits(dtype), _INT64_MAX) + 1
        else:
            high = _representable_high(high, dtype)
        low = _representable_low(low, dtype)
        limit = int(largest(dtype))
        bottom, top = -limit, limit
    elif dtype.name == "bool":
        high = 2 if high is None else high
        bottom, top = 0, 1
    elif not dtype.is_complex and not dtype.is_floating_point:
        info = np.iinfo(dtype.np)
        bottom, top = int(info.min), min(int(info.max), _INT64_MAX)
        high = top + 1 if high is None else high
    else:
        raise NotImplementedError(
            f"random_ is not implemented for {dtype}; use an integral or real floating dtype"
        )
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' as {dtype} to be less than 'to' as {dtype}, "
            f"but got from={low} >= to={high}"
        )
    for name, bound in (("from", low), ("to - 1", high - 1)):
        if not bottom <= bound <= top:
            raise RuntimeError(f"{name} is out of bounds for {dtype}: {bound}")
    return low, high


def _rounded(value: int, dtype: dtypes.dtype) -> int:
    """``value`` after a trip through a floating dtype."""
    number = _from_int64(np.array([value], np.int64), dtype).astype(np.float64)[0]
    if not -(2.0**63) <= number < 2.0**63:
        return _INT64_MIN  # what x86 makes of a conversion out of range
    return int(number)


def _representable_low(low: int, dtype: dtypes.dtype) -> int:
    after = _rounded(low + 1, dtype)
    if after < low:
        low = after + (1 << max(abs(low + 1).bit_length() - digits(dtype), 0))
    return low


def _representable_high(high: int, dtype: dtypes.dtype) -> int:
    before = _rounded(high - 1, dtype)
    if before >= high:
        high = before - (1 << max(abs(high - 1).bit_length() - digits(dtype), 0))
    return high


def random(
    shape: Sequence[int],
    dtype: dtypes.dtype = dtypes.int64,
    *,
    strides: Sequence[int] | None = None,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """Integers over the whole of a dtype, from 0 up (Tensor.random_()).

    For integers [0, largest]; for floats [0, 2 to the number of digits], both ends included.
    64 random bits a number for int64 and float64, else 32. Shapes: shape.
    """
    if dtype.name not in _RANDOM_TYPES:
        raise NotImplementedError(
            f'"random_kernel_cpu" not implemented for {dtype}; '
            f"use one of {', '.join(_RANDOM_TYPES)}"
        )
    if dtype.is_floating_point:
        span = (1 << digits(dtype)) + 1
    elif dtype.name == "bool":
        span = 2
    else:
        span = int(np.iinfo(dtype.np).max) + 1
    wide = dtype.name in ("int64", "float64")
    count = prod(shape)
    out = np.empty(count, dtype.np)
    with drawing(generator) as source:
        for start in range(0, count, BLOCK):
            part = out[start : start + BLOCK]
            if wide:
                values = (join64(source.stream.words(2 * part.size)) % np.uint64(span)).view("i8")
            else:
                values = (source.stream.words(part.size) % np.uint32(span)).astype(np.int64)
            part[...] = _from_int64(values, dtype)
    return in_layout(out, shape, strides)


def randperm(
    n: int,
    dtype: dtypes.dtype = dtypes.int64,
    *,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """A random permutation of 0 … n - 1 (torch.randperm): element i swaps with a later one.

    One word a swap. From n = 214,748,364 on two words, and element i swaps with an earlier one
    (the inside-out shuffle). Shapes: (n,).
    Raises RuntimeError for a negative n or one that the dtype cannot count to.
    """
    _check_permutation(n, dtype)
    if n < 2:
        return np.zeros(n, dtype.np)
    with drawing(generator) as source:
        if n < WIDE_PERMUTATION:
            remaining = np.arange(n, 1, -1, dtype=np.uint32)
            partners = (source.stream.words(n - 1) % remaining).astype(np.int64)
            partners += np.arange(n - 1)
        else:
            placed = np.arange(1, n + 1, dtype=np.uint64)
            partners = (join64(source.stream.words(2 * n)) % placed).view(np.int64)
    return narrow(_swap_in_turn(n, partners), dtype)


def _swap_in_turn(n: int, partners: np.ndarray) -> np.ndarray:
    """0 … n - 1 after swapping element i with ``partners[i]``, for i = 0, 1, 2, …"""
    if n < 64 or n >= 1 << 31:
        items = list(range(n))
        for i, j in enumerate(partners.tolist()):
            items[i], items[j] = items[j], items[i]
        return np.array(items, np.int64)
    # LAPACK applies the row swaps of a pivoted factorisation: the same loop, compiled.
    from scipy.linalg.lapack import dlaswp

    column = np.arange(n, dtype=np.float64).reshape(n, 1)
    return dlaswp(column, partners.astype(np.int32), overwrite_a=1)[:, 0].astype(np.int64)


def _check_permutation(n: int, dtype: dtypes.dtype) -> None:
    if n < 0:
        raise RuntimeError(f"randperm: n must be non-negative, not {n}")
    if dtype.name not in _RANDOM_TYPES or dtype.name == "bool":
        raise NotImplementedError(f'"randperm" not implemented for {dtype}; use an integer dtype')
    if dtype.name == "float16":
        largest_n = (1 << 11) + 1
    elif dtype.is_floating_point:
        largest_n = (1 << 24) + 1 if dtype.name == "float32" else (1 << 53) + 1
    else:
        largest_n = int(np.iinfo(dtype.np).max) + 1
    if dtype.name != "bfloat16" and n > largest_n:
        raise RuntimeError(f"n cannot be greater than {largest_n} for {dtype}; use torch.int64")
