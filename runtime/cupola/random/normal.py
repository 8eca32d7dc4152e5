"""Normal numbers: torch.randn, Tensor.normal_, the forms of torch.normal, Tensor.log_normal_."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

import numpy as np

from cupola import dtypes

from .boxmuller import box_muller
from .generator import CPUGenerator, drawing
from .layout import in_layout, is_contiguous
from .rounding import fma64, narrow, need_floating
from .stream import BLOCK, unit_float32, unit_float64

_GROUP = 16  # a contiguous tensor of at least this many elements is filled 16 by 16


def normal(
    shape: Sequence[int],
    dtype: dtypes.dtype = dtypes.float32,
    mean: float = 0.0,
    std: float = 1.0,
    *,
    strides: Sequence[int] | None = None,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """Normal numbers (torch.randn, Tensor.normal_, torch.normal with a size).

    A contiguous tensor of 16 elements or more is filled 16 by 16; any other takes Box-Muller pairs
    one after the other, computed in double, and leaves the second of the last pair to the next
    call. A complex type draws both parts with std / sqrt(2).

    Shapes: shape. ``strides`` (in elements) says in which order memory is filled.
    Raises RuntimeError for a negative std, NotImplementedError for integers.
    """
    if not std >= 0.0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    if dtype.is_complex:
        parts = normal(
            (*shape, 2),
            dtype.to_real(),
            mean,
            std / sqrt(2),
            strides=None if strides is None else [*(2 * s for s in strides), 1],
            generator=generator,
        )
        return np.ascontiguousarray(parts).view(dtype.np)[..., 0]
    need_floating(dtype, "normal_kernel_cpu")
    count = prod(shape)
    with drawing(generator) as source:
        if count < _GROUP or not is_contiguous(shape, strides):
            values = narrow(_affine(standard_normals(source, count), mean, std), dtype)
        elif dtype.name == "float64":
            values = _fill_float64(source, count, mean, std)
        elif dtype.name == "float32":
            values = _fill_float32(source, count, mean, std)
        else:
            values = _fill_half(source, count, dtype, mean, std)
    return in_layout(values, shape, strides)


def standard_normals(source: CPUGenerator, count: int) -> np.ndarray:
    """``count`` float64 numbers taken one by one: pairs of Box-Muller, the leftover kept."""
    if count == 0:
        return np.empty(0)
    kept = source.next_double_normal
    missing = count - (kept is not None)
    pairs = (missing + 1) // 2
    made = np.empty(2 * pairs + (kept is not None))
    if kept is not None:
        made[0] = kept
    tail = made[made.size - 2 * pairs :].reshape(pairs, 2)
    for start in range(0, pairs, BLOCK):
        part = tail[start : start + BLOCK]
        uniforms = unit_float64(source.stream.words(4 * len(part))).reshape(-1, 2)
        radius = np.sqrt(-2.0 * np.log1p(-uniforms[:, 1]))
        angle = 2.0 * np.pi * uniforms[:, 0]
        part[:, 0] = radius * np.cos(angle)
        part[:, 1] = radius * np.sin(angle)
    source.next_double_normal = float(made[-1]) if made.size > count else None
    return made[:count]


def _affine(values: np.ndarray, mean: float, std: float) -> np.ndarray:
    return values if (mean, std) == (0.0, 1.0) else fma64(values, std, mean)


def _fill_float32(source: CPUGenerator, count: int, mean: float, std: float) -> np.ndarray:
    out = np.empty(count, np.float32)
    whole = count - count % _GROUP
    for start in range(0, whole, BLOCK):
        stop = min(start + BLOCK, whole)
        out[start:stop] = box_muller(unit_float32(source.stream.words(stop - start)), mean, std)
    if count > whole:
        # The odd elements get uniforms too, only to be overwritten with the last 16.
        source.stream.words(count - whole)
        out[-_GROUP:] = box_muller(unit_float32(source.stream.words(_GROUP)), mean, std)
    return out


def _fill_half(
    source: CPUGenerator, count: int, dtype: dtypes.dtype, mean: float, std: float
) -> np.ndarray:
    """As float32, rounded; but the odd elements of an uneven size draw nothing of their own."""
    whole = count - count % _GROUP
    out = np.empty(count, dtype.np)
    out[:whole] = narrow(_fill_float32(source, whole, mean, std), dtype)
    if count > whole:
        out[-_GROUP:] = narrow(_fill_float32(source, _GROUP, mean, std), dtype)
    return out


def _fill_float64(source: CPUGenerator, count: int, mean: float, std: float) -> np.ndarray:
    def block(size: int) -> np.ndarray:
        groups = unit_float64(source.stream.words(2 * size)).reshape(-1, 2, _GROUP // 2)
        radius = np.sqrt(-2.0 * np.log(1.0 - groups[:, 0]))
        angle = 2.0 * np.pi * groups[:, 1]
        pair = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return _affine(pair.reshape(-1), mean, std)

    out = np.empty(count)
    whole = count - count % _GROUP
    for start in range(0, whole, BLOCK):
        stop = min(start + BLOCK, whole)
        out[start:stop] = block(stop - start)
    if count > whole:
        source.stream.words(2 * (count - whole))
        out[-_GROUP:] = block(_GROUP)
    return out


def normal_like(
    mean: np.ndarray | float,
    std: np.ndarray | float,
    *,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """Normal numbers with a mean and std per element (torch.normal with tensor arguments).

    Draws standard numbers of the result's shape, contiguous, then multiplies by std and adds mean
    in the result's dtype; with a scalar std the draw itself is scaled.

    Shapes: that to which mean and std broadcast. Dtype: the mean's, or the std's for a scalar mean.
    Raises RuntimeError where std is negative.
    """
    like = np.asarray(mean) if isinstance(mean, np.ndarray) else np.asarray(std)
    dtype = dtypes.from_numpy_dtype(like.dtype)
    if not isinstance(std, np.ndarray):
        drawn = normal(like.shape, dtype, 0.0, std, generator=generator)
        return _in_place(np.add, drawn, mean, dtype)
    if std.size and not (std.astype(np.float64) >= 0).all():
        raise RuntimeError("normal expects all elements of std >= 0.0")
    shape = np.broadcast_shapes(np.shape(mean), std.shape)
    if not isinstance(mean, np.ndarray):
        mean = float(narrow(np.float64(mean), dtype))  # torch makes it a tensor of the dtype
    drawn = normal(shape, dtype, generator=generator)
    return _in_place(np.add, _in_place(np.multiply, drawn, std, dtype), mean, dtype)


def _in_place(
    operation: np.ufunc, left: np.ndarray, right: np.ndarray | float, dtype: dtypes.dtype
) -> np.ndarray:
    """An in-place operator's arithmetic: in the wider type of the two, cast back."""
    if np.ndim(right) == 0:
        # A scalar keeps float32 precision beside the 16-bit types, as an operand of a kernel does.
        kind = np.float64 if dtype.name == "float64" else np.float32
        return narrow(operation(left.astype(kind), kind(right)), dtype)
    return narrow(operation(left, right), dtype)


def log_normal(
    shape: Sequence[int],
    dtype: dtypes.dtype = dtypes.float32,
    mean: float = 1.0,
    std: float = 2.0,
    *,
    strides: Sequence[int] | None = None,
    generator: CPUGenerator | None = None,
) -> np.ndarray:
    """exp of normal numbers taken one by one in double (Tensor.log_normal_). Shapes: shape.

    Raises RuntimeError unless std > 0, NotImplementedError for integers.
    """
    if not std > 0.0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    need_floating(dtype, "log_normal_cpu")
    with drawing(generator) as source:
        values = _affine(standard_normals(source, prod(shape)), mean, std)
    with np.errstate(over="ignore"):
        return in_layout(narrow(np.exp(values), dtype), shape, strides)
