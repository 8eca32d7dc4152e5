"""Putting samples together into batches (``torch.utils.data._utils.collate``)."""

from __future__ import annotations

import collections.abc
import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import cupola.dtypes as dtypes
from cupola.functional.joining import stack
from cupola.tensor import Tensor, as_tensor, from_numpy, tensor

_STRINGS = re.compile("[SaUO]")
_ERROR = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"
)


def default_convert(data: Any) -> Any:
    """NumPy arrays inside nested containers as tensors; everything else unchanged."""
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        if isinstance(data, np.ndarray) and _STRINGS.search(data.dtype.str):
            return data
        return as_tensor(data)
    if isinstance(data, Mapping):
        return like_mapping(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(value) for value in data))
    if isinstance(data, tuple):
        return [default_convert(value) for value in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [default_convert(value) for value in data])
    return data


def _like_sequence(first: Sequence, values: list) -> Any:
    """The values in a sequence of the first's type; a copy of it, where it can be written."""
    try:
        if isinstance(first, collections.abc.MutableSequence):
            result = copy.copy(first)
            for place, value in enumerate(values):
                result[place] = value
            return result
        return type(first)(values)  # type: ignore[call-arg]
    except TypeError:
        return values


def like_mapping(first: Mapping, values: dict) -> Any:
    try:
        if isinstance(first, collections.abc.MutableMapping):
            result = copy.copy(first)
            result.update(values)
            return result
        return type(first)(values)
    except TypeError:
        return values


def collate(batch: Any, *, collate_fn_map: dict[Any, Callable] | None = None) -> Any:
    """Samples as one batch; ``collate_fn_map`` gives functions by element type."""
    first = batch[0]
    kind = type(first)
    if collate_fn_map is not None:
        function = collate_fn_map.get(kind)
        if function is None:
            found = (f for key, f in collate_fn_map.items() if isinstance(first, key))
            function = next(found, None)
        if function is not None:
            return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        values = {
            key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map)
            for key in first
        }
        return like_mapping(first, values)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return kind(
            *(collate(part, collate_fn_map=collate_fn_map) for part in zip(*batch, strict=True))
        )
    if isinstance(first, Sequence):
        size = len(first)
        if any(len(sample) != size for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        parts = [collate(part, collate_fn_map=collate_fn_map) for part in zip(*batch, strict=True)]
        return parts if isinstance(first, tuple) else _like_sequence(first, parts)
    raise TypeError(_ERROR.format(kind))


def _collate_tensor(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    return stack(list(batch), 0)


def _collate_array(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    first = batch[0]
    if _STRINGS.search(first.dtype.str):
        raise TypeError(_ERROR.format(first.dtype))
    return from_numpy(np.stack(batch))


def _collate_scalar(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    return as_tensor(np.asarray(batch))


def _collate_float(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    return tensor(list(batch), dtype=dtypes.float64)


def _collate_int(batch: Any, *, collate_fn_map: Any = None) -> Tensor:
    return tensor(list(batch))


def _collate_str(batch: Any, *, collate_fn_map: Any = None) -> Any:
    return batch


default_collate_fn_map: dict[Any, Callable] = {
    Tensor: _collate_tensor,
    np.ndarray: _collate_array,
    (np.bool_, np.number): _collate_scalar,
    float: _collate_float,
    int: _collate_int,
    str: _collate_str,
    bytes: _collate_str,
}


def default_collate(batch: Any) -> Any:
    """Samples as one batch: tensors stacked, numbers as tensors, containers element by element."""
    return collate(batch, collate_fn_map=default_collate_fn_map)
