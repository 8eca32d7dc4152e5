"""Methods that PyTorch also has as functions, and what it tells about tensors and names."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from cupola.dtypes import dtype as DType
from cupola.functional._register import operator
from cupola.tensor import Tensor, from_numpy


def _function_of(name: str, doc: str) -> None:
    def function(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        return getattr(input, name)(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{doc} (torch.{name})."
    operator(function, method=False)


for _name, _doc in {
    "as_strided_": "Changes sizes and strides in place",
    "chalf": "The tensor as complex32",
    "detach": "The values, apart from the tape",
    "detach_": "Takes the tensor off the tape",
    "fill_": "Sets all values",
    "get_device": "The number of the tensor's device",
    "is_conj": "Whether the conjugation is still to be done",
    "is_distributed": "Whether the tensor is spread over processes",
    "is_inference": "Whether the tensor was made in inference mode",
    "is_neg": "Whether the negation is still to be done",
    "is_signed": "Whether the type has negative values",
}.items():
    _function_of(_name, _doc)


@operator(method=False)
def is_storage(obj: Any) -> bool:
    """Whether an object is a storage of PyTorch's."""
    return type(obj).__name__ in ("UntypedStorage", "TypedStorage")


@operator(method=False)
def typename(obj: Any) -> str:
    """The full name of an object's type; of a tensor, such as ``torch.FloatTensor``."""
    if isinstance(obj, Tensor):
        return str(obj.type())
    module = getattr(obj, "__module__", "") or ""
    name = getattr(obj, "__qualname__", "") or type(obj).__name__
    hidden = module in ("", "builtins", "__builtin__")
    return name if hidden else f"{module}.{name}"


@operator(method=False)
def frombuffer(
    buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A tensor of one dimension that shares memory with a buffer.

    Raises:
        ValueError: an empty buffer, or one that ends before ``count`` values.
    """
    if memoryview(buffer).nbytes == 0 or count == 0:
        raise ValueError("both buffer length and count must not be 0")
    array = np.frombuffer(buffer, dtype.np, count, offset)
    return from_numpy(array).requires_grad_(requires_grad)


@operator(method=False)
def from_file(
    filename: str | os.PathLike[str],
    shared: bool | None = None,
    size: int | None = 0,
    *,
    dtype: DType | None = None,
    **options: Any,
) -> Tensor:
    """The first ``size`` values of a file; ``shared``: writing to the tensor writes the file."""
    from cupola.dtypes import get_default_dtype

    kind = np.dtype((dtype or get_default_dtype()).np)
    mode = "r+" if shared else "c"
    array = np.memmap(filename, kind, mode, shape=(size or 0,))
    return from_numpy(np.asarray(array))
