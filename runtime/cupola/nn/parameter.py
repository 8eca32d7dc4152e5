"""Parameters and buffers: tensors that modules register on assignment."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from cupola.functional.creation import empty
from cupola.io.tensors import parameter_class
from cupola.tensor import Tensor, protocol
from cupola.tensor.copying import deepcopy

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "is_lazy",
]


class _ByMark(type(Tensor)):
    """Lets ``isinstance`` accept tensors of other classes that carry a mark."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or (
            isinstance(instance, Tensor) and getattr(instance, cls._mark, False)
        )


@parameter_class
class Parameter(Tensor, metaclass=_ByMark):
    """A tensor that a module registers as its parameter; shares ``data``'s memory.

    Args:
        data: the values; an empty tensor if None.
        requires_grad: whether gradients are collected.
    """

    _mark = "_is_param"
    __torch_function__ = staticmethod(protocol.disabled)

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = empty(0)
        if type(data) is not Tensor and type(data) is not cls and not isinstance(data, Tensor):
            raise TypeError(
                f"Creating a Parameter from an instance of type {type(data).__name__} requires a "
                "tensor: wrap the values in cupola.tensor(...) first"
            )
        if type(data) not in (Tensor, cls) and protocol.takes_over(data):
            own = data.detach().requires_grad_(requires_grad)  # stays of its class, and is marked
            if type(own) is not type(data):
                raise RuntimeError(
                    f"Creating a Parameter from an instance of type {type(data).__name__} requires "
                    "that detach() returns an instance of the same type, but return "
                    f"type {type(own).__name__} was found instead."
                )
            own._is_param = True
            return own
        return Tensor._make_subclass(cls, data, requires_grad)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return "Parameter containing:\n" + super().__repr__()

    __str__ = __repr__

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return deepcopy(self, memo, alone=True)


class Buffer(Tensor, metaclass=_ByMark):
    """A tensor that a module registers as its buffer on assignment.

    Args:
        data: the values; an empty tensor if None.
        persistent: whether it is part of the module's state dict.
    """

    _mark = "_is_buffer"
    __torch_function__ = staticmethod(protocol.disabled)
    persistent = True

    def __new__(cls, data: Any = None, *, persistent: bool = True) -> Buffer:
        out = Tensor._make_subclass(cls, empty(0) if data is None else data, False)
        out.persistent = persistent
        return out


class _Uninitialized:
    """A tensor without shape or values; most of its attributes raise."""

    cls_to_become: Any = None
    _allowed = frozenset(
        {
            "__class__",
            "__dict__",
            "__deepcopy__",
            "__reduce_ex__",
            "__hash__",
            "__repr__",
            "cls_to_become",
            "copy_",
            "cpu",
            "cuda",
            "data",
            "device",
            "dim",
            "double",
            "dtype",
            "float",
            "grad",
            "grad_fn",
            "half",
            "is_floating_point",
            "is_complex",
            "is_leaf",
            "materialize",
            "persistent",
            "requires_grad",
            "requires_grad_",
            "share_memory_",
            "to",
        }
    )

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Give the tensor its shape; the values are uninitialised."""
        requires_grad = self.requires_grad
        values = empty(
            tuple(shape),
            device=self.device if device is None else device,
            dtype=self.dtype if dtype is None else dtype,
        )
        self.requires_grad_(False)
        self.data = values
        self.__class__ = self.cls_to_become
        self.requires_grad_(requires_grad)

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized one. Call `forward` to initialize the parameters before accessing their "
            "attributes."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape a lazy module finds out from its first input."""

    cls_to_become = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: Any = None
    ) -> UninitializedParameter:
        return Tensor._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)

    def __deepcopy__(self, memo: dict) -> UninitializedParameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: int) -> tuple:
        return (UninitializedParameter, (self.requires_grad, None, self.dtype))


class UninitializedBuffer(_Uninitialized, Tensor):
    """A buffer whose shape a lazy module finds out from its first input."""

    cls_to_become = Tensor
    __torch_function__ = staticmethod(protocol.disabled)
    persistent = True

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> UninitializedBuffer:
        out = Tensor._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)
        out.persistent = persistent
        out._is_buffer = True
        return out


def is_lazy(param: Any) -> bool:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(param, _Uninitialized)


def _rebuild_parameter(data: Tensor, requires_grad: bool, hooks: OrderedDict | None) -> Parameter:
    return Parameter(data, requires_grad)
