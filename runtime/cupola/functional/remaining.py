"""Names of Tensor that belong to no family: storages, callbacks, old spellings, and those that
exist only to say why they are not supported.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cupola import dtypes, engine
from cupola.errors import UnsupportedError
from cupola.functional._convert import broadcast_shapes
from cupola.functional._register import write_into
from cupola.functional.rearrange import as_strided, flip
from cupola.functional.shape import _in_place_view, broadcast_tensors
from cupola.functional.strides import strides
from cupola.ops import movement as mv
from cupola.tensor import Tensor
from cupola.tensor.create import of_array


def _publish(function: Callable[..., Any]) -> Callable[..., Any]:
    setattr(Tensor, function.__name__, function)
    return function


# --- storages


class UntypedStorage:
    """The memory behind a tensor and its views, as bytes (torch.UntypedStorage): to look at, not
    to write.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._owner = tensor
        self._shared = tensor._share()

    def _array(self) -> Any:
        if self._shared.external is not None:
            return self._shared.external
        return engine.array_of(self._shared.node)

    def data_ptr(self) -> int:
        """Address of the first byte; equal for tensors that share memory."""
        array = self._array()
        pointer = getattr(array.data, "ptr", None)
        return int(array.__array_interface__["data"][0] if pointer is None else pointer)

    def nbytes(self) -> int:
        """Size in bytes."""
        return int(self._array().nbytes)

    size = nbytes
    __len__ = nbytes

    @property
    def device(self) -> Any:
        return self._owner.device

    @property
    def is_cuda(self) -> bool:
        return self._owner.is_cuda

    def element_size(self) -> int:
        """1: the elements are bytes."""
        return 1

    def tolist(self) -> list[int]:
        """All bytes."""
        node = self._shared.node
        array = self._array() if node is None else engine.to_numpy(node)
        return list(np.ascontiguousarray(array).tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and other._shared is self._shared

    def __hash__(self) -> int:
        return id(self._shared)


class TypedStorage(UntypedStorage):
    """The memory behind a tensor as a row of its elements (torch.TypedStorage)."""

    @property
    def dtype(self) -> Any:
        return self._owner.dtype

    def element_size(self) -> int:
        """Bytes of one element."""
        return int(self._owner.dtype.itemsize)

    def size(self) -> int:
        """Number of elements."""
        return int(self._array().size)

    __len__ = size

    def _flat(self) -> Tensor:
        node = self._shared.node
        count = self.size()
        if node is None:
            return of_array(np.ascontiguousarray(self._array()).reshape(-1))
        return self._owner.as_strided((count,), (1,), 0)

    def __getitem__(self, place: int) -> Any:
        return self._flat()[place].item()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def tolist(self) -> list[Any]:
        """All elements."""
        found: list[Any] = self._flat().tolist()
        return found

    def untyped(self) -> UntypedStorage:
        """The same memory as bytes."""
        return UntypedStorage(self._owner)


@_publish
def untyped_storage(self: Tensor) -> UntypedStorage:
    """The memory that this tensor shares with its views."""
    return UntypedStorage(self)


@_publish
def storage(self: Tensor) -> TypedStorage:
    """The memory that this tensor shares with its views, by elements."""
    return TypedStorage(self)


@_publish
def storage_type(self: Tensor) -> type:
    """The class of ``storage()``."""
    return TypedStorage


@_publish
def const_data_ptr(self: Tensor) -> int:
    """As ``data_ptr``."""
    found: int = self.data_ptr()  # type: ignore[attr-defined]
    return found


@_publish
def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both are the same part of the same memory."""
    if self is tensor:
        return True
    return (
        self._storage is not None
        and self._storage is tensor._storage
        and self._n.shape == tensor._n.shape
        and strides(self) == strides(tensor)
        and self.storage_offset() == tensor.storage_offset()  # type: ignore[attr-defined]
    )


@_publish
def dim_order(self: Tensor, ambiguity_check: Any = False) -> tuple[int, ...]:
    """Dimensions from the outermost in memory to the innermost.

    Raises:
        RuntimeError: with ``ambiguity_check``, more than one order is possible.
    """
    steps, sizes = strides(self), self._n.shape
    if ambiguity_check:
        moving = [s for s, n in zip(steps, sizes, strict=True) if n != 1]
        if len(moving) < len(sizes) and len(sizes) > 1 or len(set(moving)) < len(moving):
            raise RuntimeError("The tensor does not have unique dim order.")
    return tuple(sorted(range(len(sizes)), key=lambda d: -steps[d]))


_in_place_view("as_strided_", as_strided)

# --- elements through Python


@_publish
def map_(self: Tensor, tensor: Tensor, callable: Any) -> Tensor:
    """Replaces every element by ``callable(element, other's element)``; slow."""
    return _mapped(self, (tensor,), callable)


@_publish
def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Any) -> Tensor:
    """Replaces every element by ``callable(element, x's element, y's element)``; slow."""
    return _mapped(self, (x, y), callable)


def _mapped(self: Tensor, others: tuple[Tensor, ...], function: Any) -> Tensor:
    if self.requires_grad:
        raise RuntimeError("Can't call map_() on Variable that requires grad. Use detach() first.")
    broadcast_shapes(self._n.shape, *(o._n.shape for o in others))
    columns = [
        engine.to_numpy(x.node).reshape(-1).tolist() for x in broadcast_tensors(self, *others)
    ]
    made = [function(*row) for row in zip(*columns, strict=True)]
    array = np.array(made, dtype=self.dtype.np).reshape(self._n.shape)
    return write_into(self, of_array(array, self.device))


# --- kinds and old spellings


@_publish
def as_subclass(self: Tensor, cls: type) -> Any:
    """This tensor as an instance of a subclass, with its history.

    Raises:
        TypeError: ``cls`` is no subclass of Tensor.
    """
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(f"as_subclass(): {cls!r} is not a subclass of Tensor")
    made = object.__new__(cls)
    made.__dict__.update(self.view_by(mv.reshape, shape=self._n.shape).__dict__)
    return made


@_publish
def conj_physical_(self: Tensor) -> Tensor:
    """In-place form of ``conj_physical``."""
    return write_into(self, self.conj()) if self.dtype.is_complex else self


@_publish
def module_load(self: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What ``load_state_dict`` puts in place of this tensor when it loads ``other``."""
    return other.detach() if assign else self.detach().copy_(other)  # type: ignore[attr-defined]


@_publish
def resize(self: Tensor, *sizes: Any) -> Tensor:
    """A view of another size, as ``view`` gives it (deprecated)."""
    warnings.warn("non-inplace resize is deprecated", stacklevel=2)
    made: Tensor = self.view(*sizes)  # type: ignore[attr-defined]
    return made


@_publish
def resize_as(self: Tensor, tensor: Tensor) -> Tensor:
    """A view of another tensor's size (deprecated)."""
    warnings.warn("non-inplace resize_as is deprecated", stacklevel=2)
    made: Tensor = self.view(tensor._n.shape)  # type: ignore[attr-defined]
    return made


@_publish
def slice_inverse(
    self: Tensor, src: Tensor, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Tensor:
    """A view of this tensor's memory in the shape and strides of ``src``."""
    return as_strided(self, src._n.shape, strides(src), src.storage_offset())  # type: ignore


@_publish
def record_stream(self: Tensor, stream: Any) -> None:
    """Nothing: memory is released in the order of the one stream that uses it."""


@_publish
def dequantize(self: Tensor) -> Tensor:
    """Itself in float32: the tensor is not quantized."""
    made: Tensor = self.to(dtypes.float32)  # type: ignore[attr-defined]
    return made


@_publish
def is_distributed(self: Tensor) -> bool:
    """False."""
    return False


@_publish
def is_coalesced(self: Tensor) -> bool:
    """False for a dense tensor."""
    return False


@_publish
def sparse_dim(self: Tensor) -> int:
    """0 for a dense tensor."""
    return 0


@_publish
def dense_dim(self: Tensor) -> int:
    """Number of dimensions, all of them dense."""
    return self.ndim


def _reversed(self: Tensor) -> Tensor:
    return self if self.ndim == 0 else flip(self, 0)


def _delete(self: Tensor, key: Any) -> None:
    raise TypeError("'Tensor' object doesn't support item deletion")


def _set_state(self: Tensor, state: Any) -> None:
    raise UnsupportedError("Tensor.__setstate__", "pickled tensors are made by their constructor")


def _of_numpy(self: Tensor, array: Any, *rest: Any) -> Tensor:
    """The result of a NumPy function as a tensor; truth values as uint8, which is torch's way."""
    array = np.asarray(array)
    return of_array(array.astype(np.uint8) if array.dtype == np.bool_ else array)


_names: dict[str, Any] = {
    "__reversed__": _reversed,
    "__delitem__": _delete,
    "__array_wrap__": _of_numpy,
    "__setstate__": _set_state,
    "__nonzero__": lambda self: bool(self),
    "__long__": lambda self: int(self),
    "__div__": lambda self, other: self / other,
    "__idiv__": lambda self, other: self.__itruediv__(other),
    "name": property(lambda self: None),
    "grad_dtype": property(lambda self: self.dtype if self.is_leaf else None),
    "volatile": property(lambda self: False),
}
for _name, _value in _names.items():
    if _name not in vars(Tensor):
        setattr(Tensor, _name, _value)

# --- names that only say why

_SPARSE = "sparse tensors are not implemented; use dense tensors or gather and scatter"
_QUANTIZED = "quantised tensors are not implemented; use float16 or bfloat16"
_REMOVED = "PyTorch has removed it; use {}"
_UNSUPPORTED = {
    _SPARSE: "ccol_indices col_indices crow_indices row_indices resize_as_sparse_ smm sparse_mask "
    "sparse_resize_ sparse_resize_and_clear_ sspaddmm to_sparse_bsc to_sparse_bsr to_sparse_coo "
    "to_sparse_csc to_sparse_csr",
    _QUANTIZED: "int_repr q_per_channel_axis q_per_channel_scales q_per_channel_zero_points "
    "q_scale q_zero_point qscheme",
    "there is no complex type of two float16 numbers; use to(torch.complex64)": "chalf",
    "there is no such device; use to('cuda') or to('cpu')": "ipu mtia xpu hpu",
    "oneDNN's own layouts are chosen for each call; use the tensor itself": "to_mkldnn",
    "nested tensors are not implemented; pad and mask instead": "to_padded_tensor",
    "first-class dimensions are not implemented; use vmap or einsum": "index",
    _REMOVED.format("torch.linalg.eig"): "eig",
    _REMOVED.format("torch.linalg.eigh"): "symeig",
    _REMOVED.format("torch.linalg.lstsq"): "lstsq",
    _REMOVED.format("torch.linalg.solve"): "solve",
    _REMOVED.format("torch.distributions"): "reinforce",
}


def _refusing(name: str, reason: str) -> Any:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        raise UnsupportedError(f"Tensor.{name}", reason)

    method.__name__ = name
    method.__qualname__ = f"Tensor.{name}"
    method.__doc__ = f"Not supported: {reason}."
    return method


for _reason, _listed in _UNSUPPORTED.items():
    for _name in _listed.split():
        if not hasattr(Tensor, _name):
            setattr(Tensor, _name, _refusing(_name, _reason))

__all__ = ["TypedStorage", "UntypedStorage"]
