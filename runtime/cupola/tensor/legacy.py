"""The old names of tensor types: ``FloatTensor`` and its kin construct and are recognised by
isinstance.
"""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.dtypes import dtype as DType
from cupola.tensor.core import Tensor
from cupola.tensor.create import of_array, to_array


class _TypedMeta(type):
    dtype: DType
    place: str

    def __instancecheck__(cls, instance: Any) -> bool:
        return (
            isinstance(instance, Tensor)
            and instance.dtype is cls.dtype
            and instance.device.type == cls.place
        )

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and isinstance(args[0], Tensor):
            return args[0].to(cls.dtype).to(cls.place)
        if len(args) == 1 and not isinstance(args[0], int) and not hasattr(args[0], "numel"):
            return of_array(to_array(args[0], cls.dtype), cls.place)
        import numpy as np

        sizes = tuple(args[0]) if len(args) == 1 and not isinstance(args[0], int) else args
        return of_array(np.zeros(sizes or (0,), cls.dtype.np), cls.place)


def _typed(name: str, dtype: DType, place: str) -> Any:
    return _TypedMeta(
        name,
        (),
        {"dtype": dtype, "place": place, "__doc__": f"Tensors of {dtype.name} on {place}."},
    )


_NAMES = {
    "FloatTensor": dtypes.float32,
    "DoubleTensor": dtypes.float64,
    "HalfTensor": dtypes.float16,
    "BFloat16Tensor": dtypes.bfloat16,
    "LongTensor": dtypes.int64,
    "IntTensor": dtypes.int32,
    "ShortTensor": dtypes.int16,
    "CharTensor": dtypes.int8,
    "ByteTensor": dtypes.uint8,
    "BoolTensor": dtypes.bool,
}
CPU = {name: _typed(name, d, "cpu") for name, d in _NAMES.items()}
CUDA = {name: _typed(name, d, "cuda") for name, d in _NAMES.items()}
