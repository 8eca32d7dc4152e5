"""Derivatives of functions of tensors (torch.autograd.functional)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola import func as transforms
from cupola.tensor import Tensor


def _listed(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _finished(x: Any, keep: bool) -> Any:
    if isinstance(x, tuple):
        return tuple(_finished(v, keep) for v in x)
    return x if keep else x.detach()


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian, nested as outputs, then inputs (torch.autograd.functional.jacobian)."""
    one = isinstance(inputs, Tensor)
    xs = _listed(inputs)
    out = transforms.jacrev(func, 0 if one else tuple(range(len(xs))))(*xs)
    return _finished(out, create_graph)


def hessian(
    func: Callable[..., Any], inputs: Any, create_graph: bool = False, **options: Any
) -> Any:
    """Second derivatives of a scalar (torch.autograd.functional.hessian)."""
    one = isinstance(inputs, Tensor)
    xs = _listed(inputs)
    out = transforms.hessian(func, 0 if one else tuple(range(len(xs))))(*xs)
    return _finished(out, create_graph)


def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> Any:
    """The value and the gradient with cotangent ``v`` (torch.autograd.functional.vjp)."""
    one = isinstance(inputs, Tensor)
    value, pull = transforms.vjp(func, *_listed(inputs))
    found = pull(value.new_ones(value.shape) if v is None else v)
    return _finished(value, create_graph), _finished(
        found[0] if one else tuple(found), create_graph
    )


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> Any:
    """The value and its derivative along ``v`` (torch.autograd.functional.jvp)."""
    xs = _listed(inputs)
    vs = tuple(x.new_ones(x.shape) for x in xs) if v is None else _listed(v)
    value, tangent = transforms.jvp(func, xs, vs)
    return _finished(value, create_graph), _finished(tangent, create_graph)


def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> Any:
    """The value and the product of ``v`` with the second derivatives
    (torch.autograd.functional.vhp).
    """
    one = isinstance(inputs, Tensor)
    xs = _listed(inputs)
    vs = tuple(x.new_ones(x.shape) for x in xs) if v is None else _listed(v)
    gradient = transforms.grad(func, tuple(range(len(xs))))
    found = transforms.vjp(gradient, *xs)[1](vs)
    return _finished(func(*xs), create_graph), _finished(
        found[0] if one else tuple(found), create_graph
    )


hvp = vhp  # the second derivatives are symmetric
