"""Operators that programs define under a name of their own (torch.library, torch.ops).

A definition in Python is all that counts here: schemas are kept, fake kernels (which tell PyTorch's
compiler the shape of a result) are accepted and never needed.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import Any

from cupola.errors import UnsupportedError
from cupola.functional import PUBLIC
from cupola.tensor import Function, Tensor

# Kernels that serve every device, in the order in which they are looked for.
ANYWHERE = ("CompositeImplicitAutograd", "CompositeExplicitAutograd", "Autograd", "default", "")


def _split(name: str) -> tuple[str, str]:
    namespace, found, rest = name.partition("::")
    if not found:
        raise ValueError(f"{name!r} is no operator's name: write namespace::name")
    return namespace, rest.partition("(")[0].partition(".")[0].strip()


class Operator:
    """One operator: its kernels by device, and its gradient."""

    def __init__(self, namespace: str, name: str, schema: str = "") -> None:
        self.namespace, self.name, self.schema = namespace, name, schema
        self.kernels: dict[str, Callable[..., Any]] = {}
        self.function: type[Function] | None = None

    def __repr__(self) -> str:
        return f"<op {self.namespace}::{self.name}>"

    __name__ = property(lambda self: self.name)  # type: ignore[assignment]

    @property
    def default(self) -> Operator:
        """The overload without a name; there are no others."""
        return self

    def _kernel(self, args: Iterable[Any]) -> Callable[..., Any]:
        device = next((a.device.type for a in args if isinstance(a, Tensor)), "cpu")
        for key in (device.upper(), *ANYWHERE):
            if key in self.kernels:
                return self.kernels[key]
        raise NotImplementedError(
            f"{self.namespace}::{self.name} has no kernel for {device}: register one with "
            f"library.register_kernel({self.namespace + '::' + self.name!r}, {device!r})"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.function is None:
            return self._kernel((*args, *kwargs.values()))(*args, **kwargs)
        return self.function.apply(*args, **kwargs)

    def register_kernel(
        self, device_types: Any, func: Callable[..., Any] | None = None, /
    ) -> Callable[..., Any]:
        """Sets the kernel of a device or of several; None is all. Also a decorator."""
        kinds = [device_types] if isinstance(device_types, str) else device_types or ["default"]

        def take(function: Callable[..., Any]) -> Callable[..., Any]:
            for kind in kinds:
                self.kernels[kind if kind in ANYWHERE else kind.upper()] = function
            return function

        return take if func is None else take(func)

    def register_fake(self, fn: Callable[..., Any], /) -> Callable[..., Any]:
        """Accepts what tells a compiler the shape of the result."""
        return fn

    register_vmap = register_torch_dispatch = register_fake

    def register_autograd(
        self, backward: Callable[..., Any], /, *, setup_context: Callable[..., Any] | None = None
    ) -> None:
        """Sets the gradient: ``backward(ctx, *grads)``, and what it finds in ``ctx``."""

        def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            if setup_context is not None:
                setup_context(ctx, inputs, output)

        def forward(*args: Any, **kwargs: Any) -> Any:
            return self._kernel((*args, *kwargs.values()))(*args, **kwargs)

        body = {
            "forward": staticmethod(forward),
            "setup_context": staticmethod(keep),
            "backward": staticmethod(backward),
        }
        self.function = type(self.name, (Function,), body)


class _Namespace(types.ModuleType):
    """The operators of one namespace, as attributes."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self.__name__ in ("aten", "prims") and name in PUBLIC:
            return PUBLIC[name]
        raise AttributeError(f"'_OpNamespace' '{self.__name__}' object has no attribute '{name}'")


class _Operators(types.ModuleType):
    """All namespaces, as attributes (torch.ops)."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        namespace = _Namespace(name)
        setattr(self, name, namespace)
        return namespace

    def load_library(self, path: Any) -> None:
        """Refuses a library of operators.

        Raises:
            OSError: always, as for a library that does not fit the installed PyTorch.
        """
        raise OSError(f"{path} was compiled against PyTorch: write it with cupola.code")


ops = _Operators("torch.ops")


def _operator(name: str, schema: str = "") -> Operator:
    namespace, short = _split(name)
    home = getattr(ops, namespace)
    if short not in vars(home):
        setattr(home, short, Operator(namespace, short, schema))
    found: Operator = vars(home)[short]
    return found


def custom_op(
    name: str,
    fn: Callable[..., Any] | None = None,
    /,
    *,
    mutates_args: Any = (),
    device_types: Any = None,
    schema: str | None = None,
    tags: Any = None,
) -> Any:
    """Makes a function an operator ``namespace::name``; a decorator where no function is given."""

    def make(function: Callable[..., Any]) -> Operator:
        op = _operator(name, schema or "")
        op.kernels.clear()
        op.function = None
        op.register_kernel(device_types, function)
        op.__doc__ = function.__doc__
        return op

    return make if fn is None else make(fn)


def define(qualname: str, schema: Any, *, lib: Any = None, tags: Any = ()) -> None:
    """Declares an operator."""
    _operator(qualname, str(schema))


def impl(qualname: Any, types: Any, func: Any = None, *, lib: Any = None) -> Any:
    """Sets a kernel: ``impl(name, devices, func)``, or ``impl(library, name, key)`` to decorate."""
    if isinstance(qualname, Library):
        library, name, key = qualname, types, func or ""
        return lambda function: library.impl(name, function, key)
    return _operator(qualname).register_kernel(types, func)


def register_kernel(op: Any, device_types: Any, func: Any = None, /, *, lib: Any = None) -> Any:
    """`Operator.register_kernel` by name."""
    found = op if isinstance(op, Operator) else _operator(op)
    return found.register_kernel(device_types, func)


def register_autograd(
    op: Any, backward: Callable[..., Any], /, *, setup_context: Any = None, lib: Any = None
) -> None:
    """`Operator.register_autograd` by name."""
    found = op if isinstance(op, Operator) else _operator(op)
    found.register_autograd(backward, setup_context=setup_context)


def register_fake(op: Any, func: Any = None, /, *, lib: Any = None, **options: Any) -> Any:
    """Accepts what tells a compiler the shape of an operator's result."""
    return (lambda function: function) if func is None else func


impl_abstract = register_vmap = register_fake


class Library:
    """Defines operators of one namespace: ``kind`` is DEF, IMPL or FRAGMENT."""

    def __init__(self, ns: str, kind: str, dispatch_key: str = "") -> None:
        self.ns, self.kind, self.dispatch_key = ns, kind, dispatch_key

    def define(self, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> str:
        """Declares ``name(arguments) -> results``; returns the name."""
        return _operator(f"{self.ns}::{schema}", schema).name

    def impl(
        self, op_name: Any, fn: Callable[..., Any], dispatch_key: str = "", **options: Any
    ) -> Callable[..., Any]:
        """Sets a kernel; one for the dispatch key Meta is accepted and never needed."""
        name = op_name.name if isinstance(op_name, Operator) else str(op_name).split("::")[-1]
        key = dispatch_key or self.dispatch_key
        if key != "Meta":
            _operator(f"{self.ns}::{name}").register_kernel(key or "default", fn)
        return fn


def opcheck(*args: Any, **kwargs: Any) -> None:
    """Raises.

    Raises:
        UnsupportedError: always.
    """
    raise UnsupportedError("library.opcheck", "compare the operator with torch.autograd.gradcheck")


__all__ = [
    "Library",
    "custom_op",
    "define",
    "impl",
    "impl_abstract",
    "opcheck",
    "ops",
    "register_autograd",
    "register_fake",
    "register_kernel",
    "register_vmap",
]
