"""What the kinds of tensors share: which results keep the kind, copying, pickling, printing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import cupola
from cupola.tensor import Tensor, protocol

# Methods whose results keep the kind; those of all others are plain tensors (`set_return_type`).
KEPT = ("clone", "to", "detach", "requires_grad_", "pin_memory")
_OPERATORS = """
add radd iadd sub rsub isub mul rmul imul truediv rtruediv itruediv floordiv rfloordiv mod pow rpow
matmul neg pos abs invert and or xor eq ne lt le gt ge getitem
""".split()
_keeps_all = False


class TVTensor(Tensor):
    """A tensor that says what it holds; the base class of the kinds."""

    _metadata: tuple[str, ...] = ()
    __torch_function__ = staticmethod(protocol.disabled)  # the methods below see to it

    @staticmethod
    def _to_tensor(
        data: Any, dtype: Any = None, device: Any = None, requires_grad: bool | None = None
    ) -> Tensor:
        if requires_grad is None:
            requires_grad = data.requires_grad if isinstance(data, Tensor) else False
        plain = data.as_subclass(Tensor) if isinstance(data, TVTensor) else data
        return cupola.as_tensor(plain, dtype=dtype, device=device).requires_grad_(requires_grad)

    @classmethod
    def wrap(cls, tensor: Tensor, like: TVTensor, **kwargs: Any) -> TVTensor:
        """`tensor` as the kind that `like` is."""
        return tensor.as_subclass(cls)

    def _same_kind(self, output: Any) -> Any:
        """A result, or each of several, as this kind with this one's metadata."""
        if isinstance(output, (tuple, list)):
            return type(output)(self._same_kind(part) for part in output)
        if not isinstance(output, Tensor):
            return output
        return _rebuilt(
            type(self), output, {name: getattr(self, name) for name in type(self)._metadata}
        )

    def _described(self, **values: Any) -> str:
        extra = ", ".join(f"{name}={value}" for name, value in values.items())
        return f"{super().__repr__()[:-1]}, {extra})"

    def __str__(self) -> str:
        return repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> TVTensor:
        return self.detach().clone().requires_grad_(self.requires_grad)

    def __reduce_ex__(self, protocol: Any) -> Any:
        kept = {name: getattr(self, name) for name in type(self)._metadata}
        return _rebuilt, (type(self), self.as_subclass(Tensor), kept)


def _rebuilt(kind: type[TVTensor], tensor: Tensor, metadata: dict[str, Any]) -> TVTensor:
    found = tensor.as_subclass(kind)
    for name, value in metadata.items():
        setattr(found, name, value)
    return found


def _method(name: str, plain: Callable) -> Callable:
    """A method whose result is of the kind, or is a plain tensor."""

    @functools.wraps(plain)
    def method(self: TVTensor, *args: Any, **kwargs: Any) -> Any:
        output = plain(self, *args, **kwargs)
        if name in KEPT or _keeps_all:
            return output if output is self else self._same_kind(output)
        if output is self and not name.startswith("__i"):
            return output.as_subclass(Tensor)
        return output

    return method


for _name in [f"__{word}__" for word in _OPERATORS] + [n for n in dir(Tensor) if n[0] != "_"]:
    _plain = getattr(Tensor, _name, None)
    if _name not in ("as_subclass", "numpy", "backward") and type(_plain).__name__ == "function":
        setattr(TVTensor, _name, _method(_name, _plain))


class _Restore:
    """Sets the kind of results back at the end of a block."""

    def __init__(self, before: bool) -> None:
        self.before = before

    def __enter__(self) -> _Restore:
        return self

    def __exit__(self, *args: Any) -> None:
        global _keeps_all
        _keeps_all = self.before


def set_return_type(return_type: str) -> _Restore:
    """Whether methods and operators of the kinds give plain tensors ("Tensor", as at the start) or
    the kind itself ("TVTensor"); as a block's context, until its end.

    Functions that are no methods (`cupola.stack`) give plain tensors in both cases.

    Raises:
        ValueError: any other word.
    """
    global _keeps_all
    before = _keeps_all
    words = {"tensor": False, "tvtensor": True}
    if return_type.lower() not in words:
        raise ValueError(f"return_type must be 'TVTensor' or 'Tensor', got {return_type}")
    _keeps_all = words[return_type.lower()]
    return _Restore(before)


def wrap(wrappee: Tensor, *, like: Any, **kwargs: Any) -> Any:
    """`wrappee` as the kind that `like` is, with its metadata but for what is given by name."""
    method = getattr(type(like), "wrap", None)
    return wrappee.as_subclass(type(like)) if method is None else method(wrappee, like, **kwargs)
