"""How a function becomes public: its torch name, its method, its in-place and ``out=`` forms, from
one declaration.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from cupola import dtypes
from cupola.ir.op import pending
from cupola.ops import elementwise
from cupola.tensor import Tensor, protocol, wrap
from cupola.tensor.geometry import check_write

PUBLIC: dict[str, Callable[..., Any]] = {}
F = TypeVar("F", bound=Callable[..., Any])


def operator(
    function: Any = None,
    *,
    name: str | None = None,
    method: bool | str = True,
    inplace: bool = False,
    out: bool = False,
    exact: bool = False,
    apart: bool = False,
    refusal: type[Exception] = RuntimeError,
    adopt: bool = False,
    public: bool = True,
    aliases: tuple[str, ...] = (),
) -> Any:
    """Publishes a function.

    Args:
        name: torch name; the function's own by default.
        method: attach it to Tensor (a string: under that name).
        inplace: also attach ``name_``, which writes the result into the first argument.
        out: the public function accepts ``out=``.
        exact: ``out=`` must have the result's dtype.
        apart: ``out=`` may not be an operand.
        refusal: the error for an ``out=`` that the result cannot be cast to.
        adopt: without a ``dtype``, the dtype of ``out=`` is the one that is computed in.
        public: whether the module-level name exists (some names are methods only).
        aliases: further names with the same meaning.
    """

    def decorate(f: F) -> F:
        own = name or f.__name__
        face = with_out(f, exact, apart, refusal, adopt) if out else f
        if "dtype" in inspect.signature(f).parameters:
            face = _with_types(face)
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


def rounded_once(f: F) -> F:
    """Computes a composition of 16-bit tensors in float32 and rounds its results once, as
    PyTorch's kernels do.
    """
    return _rounded_once(f, False)


def rounded_once_on_cpu(f: F) -> F:
    """``rounded_once`` of what is a product in the library's hands on other devices."""
    return _rounded_once(f, True)


def _rounded_once(f: F, on_cpu: bool) -> F:
    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        given = [x for x in _operands(args, kwargs) if isinstance(x, Tensor)]
        kinds = {x.dtype for x in given if x.dtype.category >= 2}
        if len(kinds) != 1 or next(iter(kinds)) not in (dtypes.float16, dtypes.bfloat16):
            return f(*args, **kwargs)
        if on_cpu and given[0].device.type != "cpu":
            return f(*args, **kwargs)
        (narrow,) = kinds

        def widened(x: Any) -> Any:
            if isinstance(x, Tensor) and x.dtype is narrow:
                return wrap(elementwise.cast(x.node, dtype=dtypes.float32))
            return type(x)(map(widened, x)) if type(x) in (tuple, list) else x

        out = f(*map(widened, args), **{k: widened(v) for k, v in kwargs.items()})
        return wrap(elementwise.cast(out.node, dtype=narrow))

    return wrapper  # type: ignore[return-value]


def settled(x: Tensor) -> Tensor:
    """A half-type value as memory would hold it: PyTorch's operator is several kernels here, and
    each rounds what it stores. Other types as they are.
    """
    node = x.node
    if node.dtype not in (dtypes.float16, dtypes.bfloat16):
        return x
    wide = elementwise.cast(node, dtype=dtypes.float32)
    return wrap(elementwise.cast(wide, dtype=node.dtype))


def _with_types(f: F) -> F:
    """Lets ``dtype=`` name Python's number types."""

    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        kind = kwargs.get("dtype")
        if kind is not None and type(kind) is not dtypes.dtype:
            kwargs["dtype"] = dtypes.asked(kind)
        try:
            return f(*args, **kwargs)
        except (TypeError, AttributeError):
            return protocol.again(f, args, kwargs)

    return wrapper  # type: ignore[return-value]


def with_out(
    f: Callable[..., Any],
    exact: bool = False,
    apart: bool = False,
    refusal: type[Exception] = RuntimeError,
    adopt: bool = False,
) -> Callable[..., Any]:
    """Adds ``out=`` to a function; the rest as in ``operator``."""

    @functools.wraps(f)
    def wrapper(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is None:
            try:
                return f(*args, **kwargs)
            except (TypeError, AttributeError):
                return protocol.again(f, args, kwargs)
        if adopt and kwargs.get("dtype") is None:
            kwargs["dtype"] = out.dtype
        result = f(*args, **kwargs)
        if refusal is not RuntimeError:
            for r, o in _pairs(result, out):
                check_cast(r, o, refusal)
        # Where the result does not fit, ``out`` is resized and shares no memory any more.
        for r, o in _pairs(result, out):
            if apart or o.shape == r.shape:
                check_write(o, *_operands(args, kwargs), apart=apart)
        return deliver(result, out, exact or adopt)

    return wrapper


def _operands(args: Any, kwargs: dict[str, Any]) -> list[Any]:
    found = []
    for x in (*args, *kwargs.values()):
        found += x if isinstance(x, (list, tuple)) else [x]
    return found


def _pairs(result: Any, out: Any) -> list[tuple[Tensor, Tensor]]:
    if not isinstance(result, (tuple, list)):
        return [(result, out)]
    if not isinstance(out, (tuple, list)) or len(out) != len(result):
        raise TypeError(f"out= must be {len(result)} tensors, one for each result")
    return list(zip(result, out, strict=True))


def deliver(result: Any, out: Any, exact: bool = False) -> Any:
    """Writes results into the tensors given as ``out`` and returns them.

    Raises:
        RuntimeError: an ``out`` has a dtype that the result cannot be cast to (with ``exact``:
            another dtype), or requires a gradient.
    """
    if isinstance(result, (tuple, list)):
        for r, o in _pairs(result, out):
            deliver(r, o, exact)
        return type(result)(*out) if hasattr(result, "_fields") else out
    if exact and out.dtype is not result.dtype:
        raise RuntimeError(
            f"Expected out tensor to have dtype {result.dtype}, but got {out.dtype} instead"
        )
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


def check_cast(result: Tensor, target: Tensor, refusal: type[Exception] = RuntimeError) -> None:
    """Raises an error if PyTorch would not cast a result into this tensor."""
    a, b = result.dtype, target.dtype
    if a.category > b.category and not (a.category == 1 and b.category == 1):
        raise refusal(
            f"result type {scalar_name(a)} can't be cast to the desired output type "
            f"{scalar_name(b)}"
        )


def scalar_name(d: Any) -> str:
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


def write_into(
    target: Tensor, result: Tensor, since: int | None = None, repeats: bool = False
) -> Tensor:
    """What every in-place operator does with its result.

    Raises:
        RuntimeError: shape or dtype do not fit; a leaf that requires a gradient is written.
    """
    node, old = result._n if result._storage is None else result.node, target._n
    if node.shape != old.shape:
        raise RuntimeError(
            f"output with shape {list(target.shape)} doesn't match the broadcast shape "
            f"{list(result.shape)}"
        )
    if node.dtype is not old.dtype:
        check_cast(result, target)
        node = elementwise.cast(node, dtype=old.dtype)
    if target._chain and not repeats:
        check_write(target)
    return target.assign(node, since)


def first_tensor(name: str, x: Any) -> None:
    """Raises TypeError where PyTorch takes no number as the first operand."""
    only_tensors(name, input=x)


def some_tensor(name: str, *operands: Any) -> None:
    """Raises TypeError where all operands are numbers."""
    if not any(isinstance(x, Tensor) for x in operands):
        found = ", ".join(type(x).__name__ for x in operands)
        raise TypeError(f"{name}(): one of the operands must be a Tensor, got ({found})")


def only_tensors(name: str, **operands: Any) -> None:
    """Raises TypeError where PyTorch takes no number as an operand; they are given in order."""
    for k, (operand, x) in enumerate(operands.items(), 1):
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{name}(): argument '{operand}' (position {k}) must be Tensor, "
                f"not {type(x).__name__}"
            )


# In-place functions that may write a tensor which repeats elements: the last write counts.
_REPEATS = {"index_fill_", "index_put_", "masked_fill_"}
# In-place functions that take a number out of their last operand before they write.
_BY_VALUE = {"masked_fill_"}
# In-place functions that refuse an operand which is the target itself.
_APART = {"index_add_", "index_copy_", "index_put_", "scatter_", "scatter_add_"}


def in_place(f: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The in-place form of a function of a tensor."""
    repeats, apart = name in _REPEATS, name in _APART

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        # The operator itself may read the old value in a backward pass, unless it reads it as
        # another operand too.
        since = None if any(a is self for a in args) else pending.count
        if self._storage is not None or apart:
            read = (*args, *kwargs.values())
            read = read[:-1] if name in _BY_VALUE else read
            check_write(self, *read, apart=apart, repeats=repeats)
        if self._base is not None:
            with self.unhooked():
                return write_into(self, f(self, *args, **kwargs), since, repeats)
        return write_into(self, f(self, *args, **kwargs), since, repeats)

    method.__name__ = name
    method.__qualname__ = f"Tensor.{name}"
    method.__doc__ = f"In-place form of ``{name[:-1]}``."
    return method
