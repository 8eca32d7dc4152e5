"""How a function becomes public: its torch name, its method, its in-place and ``out=`` forms, from
one declaration.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from cupola.ir.op import pending
from cupola.ops import elementwise
from cupola.tensor import Tensor

PUBLIC: dict[str, Callable[..., Any]] = {}
F = TypeVar("F", bound=Callable[..., Any])


def operator(
    function: Any = None,
    *,
    name: str | None = None,
    method: bool | str = True,
    inplace: bool = False,
    out: bool = False,
    public: bool = True,
    aliases: tuple[str, ...] = (),
) -> Any:
    """Publishes a function.

    Args:
        name: torch name; the function's own by default.
        method: attach it to Tensor (a string: under that name).
        inplace: also attach ``name_``, which writes the result into the first argument.
        out: the public function accepts ``out=``.
        public: whether the module-level name exists (some names are methods only).
        aliases: further names with the same meaning.
    """

    def decorate(f: F) -> F:
        own = name or f.__name__
        face = with_out(f) if out else f
        for n in (own, *aliases):
            if public:
                PUBLIC[n] = face
            if method:
                setattr(Tensor, method if isinstance(method, str) and n == own else n, face)
            if inplace:
                setattr(Tensor, n + "_", in_place(f, n + "_"))
                if public:
                    PUBLIC[n + "_"] = getattr(Tensor, n + "_")
        return f

    return decorate(function) if function is not None else decorate


def with_out(f: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``out=`` to a function."""

    @functools.wraps(f)
    def wrapper(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            return f(*args, **kwargs)
        return deliver(f(*args, **kwargs), out)

    return wrapper


def deliver(result: Any, out: Any) -> Any:
    """Writes results into the tensors given as ``out`` and returns them.

    Raises:
        RuntimeError: an ``out`` has a dtype that the result cannot be cast to, or requires a
            gradient.
    """
    if isinstance(result, (tuple, list)):
        for r, o in zip(result, out, strict=True):
            deliver(r, o)
        return out
    if result.requires_grad or out.requires_grad:
        raise RuntimeError(
            "out=... arguments don't support automatic differentiation, but one of the arguments "
            "requires grad."
        )
    check_cast(result, out)
    if out.shape != result.shape:
        out.resize_(result.shape)
    out.assign(fit_dtype(result, out))
    return out


def check_cast(result: Tensor, target: Tensor) -> None:
    """Raises RuntimeError if PyTorch would not cast a result into this tensor."""
    a, b = result.dtype, target.dtype
    if a.category > b.category and not (a.category == 1 and b.category == 1):
        raise RuntimeError(
            f"result type {_scalar(a)} can't be cast to the desired output type {_scalar(b)}"
        )


def _scalar(d: Any) -> str:
    return {
        "float32": "Float",
        "float64": "Double",
        "int64": "Long",
        "int32": "Int",
        "bool": "Bool",
        "float16": "Half",
        "bfloat16": "BFloat16",
        "complex64": "ComplexFloat",
        "complex128": "ComplexDouble",
        "uint8": "Byte",
        "int8": "Char",
        "int16": "Short",
    }.get(d.name, d.name)


def fit_dtype(result: Tensor, target: Tensor) -> Any:
    """The result's node in the target's dtype."""
    node = result.node
    return node if node.dtype is target.dtype else elementwise.cast(node, dtype=target.dtype)


def write_into(target: Tensor, result: Tensor, since: int | None = None) -> Tensor:
    """What every in-place operator does with its result.

    Raises:
        RuntimeError: shape or dtype do not fit; a leaf that requires a gradient is written.
    """
    if result._n.shape != target._n.shape:
        raise RuntimeError(
            f"output with shape {list(target.shape)} doesn't match the broadcast shape "
            f"{list(result.shape)}"
        )
    check_cast(result, target)
    return target.assign(fit_dtype(result, target), since)


def first_tensor(name: str, x: Any) -> None:
    """Raises TypeError where PyTorch takes no number as the first operand."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name}(): argument 'input' (position 1) must be Tensor, not {type(x).__name__}"
        )


def in_place(f: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The in-place form of a function of a tensor."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        # The operator itself may read the old value in a backward pass, unless it reads it as
        # another operand too.
        since = None if any(a is self for a in args) else pending.count
        return write_into(self, f(self, *args, **kwargs), since)

    method.__name__ = name
    method.__qualname__ = f"Tensor.{name}"
    method.__doc__ = f"In-place form of ``{name[:-1]}``."
    return method
