"""NumPy arrays described to oneDNN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cupola.backends.cpu.heavy import channels_last_strides, contiguous_strides, has_strides
from cupola.backends.cpu.onednn.library import Library
from cupola.backends.cpu.onednn.primitive import DATA_TYPES, Descriptor


def overlaps(array: np.ndarray, broadcast: bool = False) -> bool:
    """Whether elements may share memory (as in a sliding window).

    `broadcast` lets stride 0 pass.
    """
    axes = sorted(
        (stride, size)
        for size, stride in zip(array.shape, array.strides, strict=True)
        if size != 1 and not (broadcast and stride == 0)
    )
    extent = array.itemsize
    for stride, size in axes:
        if stride < extent:
            return True
        extent = stride * size
    return False


def regular(array: np.ndarray) -> bool:
    """Whether oneDNN can describe the array as it lies.

    Whole elements, forwards, without overlap or broadcast.
    """
    return not any(stride % array.itemsize for stride in array.strides) and not overlaps(array)


def element_strides(array: np.ndarray) -> tuple[int, ...]:
    """Strides in elements.

    Those of axes of size 1 are made the contiguous ones, since they mean nothing.
    """
    plain = contiguous_strides(array.shape)
    return tuple(
        stride // array.itemsize if size != 1 else default
        for size, stride, default in zip(array.shape, array.strides, plain, strict=True)
    )


def fits_channels_last(array: np.ndarray) -> bool:
    """Whether the (N, C, *spatial) array lies channels-last, even if it is contiguous as well."""
    return has_strides(array, channels_last_strides(array.shape))


def activations(library: Library, array: np.ndarray) -> Descriptor:
    """(N, C, *spatial).

    The exact channels-last or contiguous layout where the memory fits one of them.
    """
    last, plain = channels_last_strides(array.shape), contiguous_strides(array.shape)
    strides: Sequence[int]
    if has_strides(array, last):
        strides = last
    elif has_strides(array, plain):
        strides = plain
    else:
        strides = element_strides(array)
    return Descriptor.strided(library, array.shape, strides, DATA_TYPES[array.dtype])


def grouped(shape: Sequence[int], groups: int) -> tuple[int, ...]:
    """A weight's shape as oneDNN wants it.

    With a leading axis of groups where there are several.
    """
    if groups == 1:
        return tuple(shape)
    return (groups, shape[0] // groups, *shape[1:])


def weights(library: Library, array: np.ndarray, groups: int) -> Descriptor:
    """(O, C/groups, *kernel), in place."""
    strides = element_strides(array)
    if groups > 1:
        strides = (strides[0] * (array.shape[0] // groups), *strides)
    return Descriptor.strided(
        library, grouped(array.shape, groups), strides, DATA_TYPES[array.dtype]
    )


def vector(library: Library, array: np.ndarray) -> Descriptor:
    """(O,), in place."""
    return Descriptor.strided(library, array.shape, element_strides(array), DATA_TYPES[array.dtype])
