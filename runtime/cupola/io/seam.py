"""The seam between the readers, which know files, and whatever stands for a tensor.

The readers hand a factory a storage and a `View` of it; the factory makes the tensor. There are
three: cupola's own (`cupola.io.tensors`), the NumPy one here, which needs none of the runtime, and
the survey, which makes nothing and counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cupola.io.errors import CheckpointError
from cupola.io.storage import NUMPY_DTYPES, TORCH_NAMES, Storage


@dataclass(frozen=True, slots=True)
class View:
    """Which elements of a storage form a tensor: offset, size and stride count elements."""

    dtype: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: bool = False
    conj: bool = False
    neg: bool = False

    @property
    def numel(self) -> int:
        return math.prod(self.size)

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie in row-major order without gaps."""
        expected = 1
        for size, stride in zip(reversed(self.size), reversed(self.stride), strict=True):
            if size != 1 and stride != expected:
                return False
            expected *= max(size, 1)
        return True

    def check(self, storage: Storage) -> None:
        """Raise `CheckpointError` when an element would lie outside of the storage."""
        available = storage.nbytes() // NUMPY_DTYPES[self.dtype].itemsize
        last = self.offset + sum(
            (size - 1) * stride for size, stride in zip(self.size, self.stride, strict=True)
        )
        if self.numel and last >= available:
            raise CheckpointError(
                f"a tensor of size {list(self.size)} and stride {list(self.stride)} reaches "
                f"element {last} of a storage that has {available}"
            )
        if self.numel >= 1 << 56 or max((*self.size, *self.stride, self.offset)) >= 1 << 56:
            raise CheckpointError(f"a tensor of size {list(self.size)} is larger than any memory")


class TensorFactory(Protocol):
    """Makes the objects of a loaded checkpoint."""

    def dtype(self, name: str) -> Any: ...

    def device(self, name: str) -> Any: ...

    def size(self, dims: tuple[int, ...]) -> Any: ...

    def layout(self, name: str) -> Any: ...

    def tensor(self, storage: Storage, view: View) -> Any: ...

    def from_array(self, array: np.ndarray, dtype: str, device: str, grad: bool) -> Any:
        """A tensor from a NumPy array that the pickle itself carried."""

    def cast(self, tensor: Any, dtype: str, device: str, grad: bool) -> Any: ...

    def parameter(self, tensor: Any, requires_grad: bool) -> Any: ...

    def is_tensor(self, value: Any) -> bool: ...

    def set_attributes(self, tensor: Any, state: Mapping[str, Any]) -> None:
        """Python attributes that somebody hung on a tensor."""


class NumPyFactory:
    """Tensors become NumPy arrays: views that share memory where they shared a storage.

    Devices and requires_grad are dropped; dtypes are NumPy's and `ml_dtypes`'.
    """

    def dtype(self, name: str) -> Any:
        return NUMPY_DTYPES[name]

    def device(self, name: str) -> Any:
        return name

    def size(self, dims: tuple[int, ...]) -> Any:
        return dims

    def layout(self, name: str) -> Any:
        return name

    def tensor(self, storage: Storage, view: View) -> Any:
        return as_array(storage, view)

    def from_array(self, array: np.ndarray, dtype: str, device: str, grad: bool) -> Any:
        return array.astype(NUMPY_DTYPES[dtype], copy=False)

    def cast(self, tensor: Any, dtype: str, device: str, grad: bool) -> Any:
        return tensor.astype(NUMPY_DTYPES[dtype], copy=False)

    def parameter(self, tensor: Any, requires_grad: bool) -> Any:
        return tensor

    def is_tensor(self, value: Any) -> bool:
        return isinstance(value, np.ndarray)

    def set_attributes(self, tensor: Any, state: Mapping[str, Any]) -> None:
        pass


def as_array(storage: Storage, view: View) -> np.ndarray:
    """The elements of `view` as an array on the storage's memory (a copy where conj or neg)."""
    return strided(storage.numpy(view.dtype), view)


def strided(flat: np.ndarray, view: View) -> np.ndarray:
    """`view` of the one-dimensional array `flat`."""
    if not view.numel:
        return np.empty(view.size, flat.dtype)
    if view.contiguous:
        out = flat[view.offset : view.offset + view.numel].reshape(view.size)
    else:
        strides = [stride * flat.itemsize for stride in view.stride]
        start = view.offset * flat.itemsize
        # Checks the bounds once more, which as_strided would not.
        out = np.ndarray(view.size, flat.dtype, flat.view(np.uint8).data, start, strides)
    if view.conj:
        out = np.conj(out)
    return -out if view.neg else out


@dataclass(frozen=True)
class Parts:
    """A tensor taken apart for saving."""

    data: np.ndarray  # all elements of its storage, one-dimensional, on the host
    key: int  # the same for all tensors that share the storage
    view: View
    parameter: bool = False
    device: str = "cpu"

    def array(self) -> np.ndarray:
        """The tensor's elements, as an array on the storage's memory."""
        return strided(self.data, self.view)


def array_parts(array: Any, owner: np.ndarray | None = None) -> Parts | None:
    """How a NumPy array would be saved as a tensor; None for anything else.

    The storage is `owner` (by default the array that it is a view on) where it is a view of that
    with strides that PyTorch has; else a copy.
    """
    if not isinstance(array, np.ndarray) or array.dtype not in TORCH_NAMES:
        return None
    dtype, width = TORCH_NAMES[array.dtype], array.itemsize
    if owner is None:
        owner = array.base if isinstance(array.base, np.ndarray) else array
    start = array.ctypes.data - owner.ctypes.data
    inside = np.may_share_memory(array, owner) or not array.size
    if (
        not inside
        or not owner.flags.forc
        or start % width
        or owner.nbytes % width
        or any(step < 0 or step % width for step in array.strides)
    ):
        owner, start = np.ascontiguousarray(array).reshape(array.shape), 0
        array = owner
    if not array.size:
        start = 0
    data = owner.reshape(-1, order="A").view(np.uint8).view(array.dtype)
    stride = tuple(step // width for step in array.strides)
    return Parts(data, id(owner), View(dtype, start // width, array.shape, stride))


class Planned:
    """Stands for a tensor while a checkpoint is only being surveyed."""

    __slots__ = ()


class Survey:
    """Makes nothing: checks a pickle from end to end and counts the users of each storage.

    A checkpoint with tensors is interpreted twice, first with this factory. Nothing is read or
    allocated for a file whose pickle is refused later on; and when the tensors are made, it is
    known which of them share memory.
    """

    def __init__(self, factory: TensorFactory) -> None:
        self.made = False  # whether there is anything that only the second reading can make
        self.dtype = factory.dtype
        self.device = factory.device
        self.size = factory.size
        self.layout = factory.layout

    def tensor(self, storage: Storage, view: View) -> Any:
        self.made = True
        storage.root.uses += 1
        if storage.untyped:
            # PyTorch keeps its newer dtypes in untyped storages: only a tensor says what is inside.
            storage.content = view.dtype
        return Planned()

    def from_array(self, array: np.ndarray, dtype: str, device: str, grad: bool) -> Any:
        self.made = True
        return Planned()

    def cast(self, tensor: Any, dtype: str, device: str, grad: bool) -> Any:
        return Planned()

    def parameter(self, tensor: Any, requires_grad: bool) -> Any:
        return Planned()

    def is_tensor(self, value: Any) -> bool:
        return isinstance(value, Planned)

    def set_attributes(self, tensor: Any, state: Mapping[str, Any]) -> None:
        pass
