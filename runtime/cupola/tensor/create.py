"""Tensors from Python and NumPy data."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from cupola import dtypes, engine
from cupola.dtypes import dtype as DType
from cupola.ir import source
from cupola.ir.device import CPU, resolve
from cupola.ops import movement
from cupola.tensor.alias import Storage
from cupola.tensor.core import Tensor, wrap


def _nested(data: Any) -> Any:
    """Replaces tensors inside nested sequences by NumPy arrays."""
    if isinstance(data, Tensor):
        return engine.to_numpy(data.node)
    if isinstance(data, (list, tuple)):
        return [_nested(d) for d in data]
    return data


def _has_tensor(data: Any) -> bool:
    while isinstance(data, (list, tuple)) and data:
        if any(isinstance(d, Tensor) for d in data):
            return True
        data = data[0]
    return isinstance(data, Tensor)


def to_array(data: Any, dtype: DType | None) -> np.ndarray[Any, Any]:
    """A new NumPy array of the dtype that PyTorch would infer.

    Raises:
        TypeError, ValueError: the data is ragged or of a type that no tensor holds.
    """
    if isinstance(data, (np.ndarray, np.generic)):
        array = np.array(data, copy=True)
        found = dtypes.from_numpy_dtype(array.dtype)
    else:
        if _has_tensor(data):
            data = _nested(data)
        try:
            array = np.array(data)
        except ValueError as error:
            raise ValueError(
                f"expected sequences of equal length at each dimension: {error}"
            ) from None
        if array.dtype.kind in "OUS":
            raise _bad_data(data, array)
        found = _python_dtype(data, array)
    target = dtypes.asked(dtype) or found
    if array.dtype != target.np:
        if target.category < 3 and array.dtype.kind == "c":
            raise TypeError("can't convert complex to float")
        array = array.astype(target.np)
    return np.ascontiguousarray(array).reshape(array.shape)


def _bad_data(data: Any, array: Any) -> Exception:
    if array.dtype.kind in "US":
        return TypeError(
            f"new(): invalid data type '{'str' if array.dtype.kind == 'U' else 'bytes'}'"
        )
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if data is None or first is None:
        return RuntimeError("Could not infer dtype of NoneType")
    return RuntimeError(f"Could not infer dtype of {type(first).__name__}")


def _python_dtype(data: Any, array: Any) -> DType:
    kind = array.dtype.kind
    first = data
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    if isinstance(first, (np.ndarray, np.generic)):
        return dtypes.from_numpy_dtype(array.dtype)
    if kind == "b":
        return dtypes.bool
    if kind == "f":
        return dtypes.get_default_dtype()
    if kind in "iu":
        return dtypes.int64
    return dtypes.get_default_dtype().to_complex()


def of_array(array: np.ndarray[Any, Any], device: Any = None) -> Tensor:
    """A tensor that owns a NumPy array (moved to its device)."""
    place = resolve(device)
    array = np.asarray(array)  # arithmetic on arrays without dimensions gives NumPy's scalars
    found = dtypes.from_numpy_dtype(array.dtype)
    if place is CPU:
        return wrap(source.buffer(array, found, place))
    if place.type == "meta":
        return wrap(source.const(0, array.shape, found, place))
    return wrap(source.buffer(engine.from_numpy(array, place), found, place))


def tensor(
    data: Any,
    *,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A new tensor with a copy of ``data`` (torch.tensor).

    Args:
        data: number, nested sequence, NumPy array or tensor.
        dtype: element type; inferred if None (Python floats give the default dtype).
        device: where it lives; the default device if None.
        requires_grad: whether gradients are collected.
    """
    if isinstance(data, Tensor):
        out = data.detach().clone() if dtype is None else data.detach().to(dtype, copy=True)
        out = out.to(device) if device is not None else out
    else:
        out = of_array(to_array(data, dtype), device)
    if requires_grad:
        out.requires_grad = True
    return out


@functools.cache
def _tell_of_read_only() -> None:
    """Warns, once, of memory that nobody may write."""
    warnings.warn(
        "The given NumPy array is not writable, and PyTorch does not support non-writable tensors. "
        "This means writing to this tensor will result in undefined behavior. You may want to copy "
        "the array to protect its data or make it writable before converting it to a tensor.",
        stacklevel=3,
    )


def from_numpy(array: Any) -> Tensor:
    """A CPU tensor that shares memory with a NumPy array (torch.from_numpy).

    Raises:
        TypeError: not an array, or a dtype that tensors do not hold.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    found = dtypes.from_numpy_dtype(array.dtype)
    if any(s < 0 for s in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not "
            "currently supported. (You can probably work around this by making a copy of your "
            "array  with array.copy().) "
        )
    if array.dtype.byteorder not in "=|" and not array.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion "
            "between byte orders is currently not supported."
        )
    if not array.flags.writeable:
        _tell_of_read_only()
    out = wrap(source.buffer(array, found, CPU))
    out._storage = Storage(None, 0, array)
    return out


def as_tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Tensor:
    """A tensor of ``data``, sharing memory or returning ``data`` itself where possible
    (torch.as_tensor).
    """
    dtype = dtypes.asked(dtype)
    if isinstance(data, Tensor):
        return data.to(device=device or data.device, dtype=dtype or data.dtype)
    if isinstance(data, np.ndarray) and resolve(device) is CPU:
        found = dtypes.from_numpy_dtype(data.dtype)
        if (dtype is None or dtype is found) and data.size and all(s >= 0 for s in data.strides):
            return from_numpy(data)
    if hasattr(data, "__array__") and not isinstance(data, (np.ndarray, np.generic)):
        data = np.asarray(data)
    return tensor(data, dtype=dtype, device=device)


def legacy_constructor(cls: type, *args: Any, **kwargs: Any) -> Any:
    """``Tensor()``, ``Tensor(2, 3)``, ``Tensor(size)``, ``Tensor(sequence)``: the default dtype,
    uninitialised sizes.
    """
    device = kwargs.pop("device", None)
    data = kwargs.pop("data", None)
    if data is not None:
        args = (data,)
    default = dtypes.get_default_dtype()
    if len(args) == 1 and isinstance(args[0], Tensor):
        made = args[0].detach()
    elif len(args) == 1 and not isinstance(args[0], int) and not _is_size(args[0]):
        made = of_array(to_array(args[0], default), device)
    else:
        sizes = tuple(args[0]) if len(args) == 1 and not isinstance(args[0], int) else args
        if sizes:
            made = of_array(np.empty(sizes, default.np), device)
        else:
            made = of_array(np.empty((0,), default.np), device)
    if cls is Tensor:
        return made
    out = object.__new__(cls)
    out._alias_of(made)
    return out


def _is_size(x: Any) -> bool:
    from cupola.tensor.core import Size

    return isinstance(x, Size)


__all__ = [
    "as_tensor",
    "from_numpy",
    "legacy_constructor",
    "movement",
    "of_array",
    "tensor",
    "to_array",
]
