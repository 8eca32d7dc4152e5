"""Derivatives of functions of tensors (torch.autograd.functional)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola import func as transforms
from cupola.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


def _listed(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _finished(x: Any, keep: bool) -> Any:
    if isinstance(x, tuple):
        return tuple(_finished(v, keep) for v in x)
    return x if keep else x.detach()


def _vectors(name: str, v: Any, like: tuple[Any, ...], scalar: bool) -> tuple[Any, ...]:
    """The given vectors, or a 1 for a single number.

    Raises:
        RuntimeError: they are missing, or do not have the shapes they multiply.
    """
    if v is None:
        if not scalar:
            raise RuntimeError(
                f"The vector v can only be None if the {name} to the user-provided function "
                "contain a single element."
            )
        return tuple(x.new_ones(x.shape) for x in like)
    vs = _listed(v)
    if len(vs) != len(like):
        raise RuntimeError(
            f"Expected v to hold {len(like)} tensors, one for each of the {name}, got {len(vs)}"
        )
    for k, (a, b) in enumerate(zip(vs, like, strict=True)):
        if a.shape != b.shape:
            raise RuntimeError(
                f"v has invalid size: should be {tuple(b.shape)} but got {tuple(a.shape)} at {k}"
            )
    return vs


def _check_strict(strict: bool, out: Any, create_graph: bool, what: str) -> None:
    """With ``strict``, a result that no input reaches is an error."""
    if strict:
        for k, o in enumerate(_listed(out)):
            if not o.requires_grad:
                raise RuntimeError(
                    f"Output {k} of the user-provided function does not require gradients. The "
                    f"{what} cannot be computed in strict mode."
                )


def _watched(func: Callable[..., Any], strict: bool) -> Callable[..., Any]:
    def wrapper(*xs: Any) -> Any:
        out = func(*xs)
        _check_strict(strict, out, False, "derivative")
        return tuple(out) if isinstance(out, list) else out

    return wrapper


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian, nested as outputs, then inputs (torch.autograd.functional.jacobian).

    Raises:
        RuntimeError: ``strict`` and a result that no input reaches.
        AssertionError: ``strategy`` is neither ``reverse-mode`` nor ``forward-mode``.
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            f'Expected strategy to be "forward-mode" or "reverse-mode", got {strategy}'
        )
    if strategy == "forward-mode" and create_graph:
        raise NotImplementedError(
            "torch.autograd.functional.jacobian: `create_graph=True` and "
            '`strategy="forward-mode"` are not supported together (yet)'
        )
    one = isinstance(inputs, Tensor)
    xs = _listed(inputs)
    made = transforms.jacfwd if strategy == "forward-mode" else transforms.jacrev
    out = made(_watched(func, strict), 0 if one else tuple(range(len(xs))))(*xs)
    return _finished(out, create_graph)


def _scalar(out: Any) -> Any:
    if not isinstance(out, Tensor):
        raise RuntimeError("The function given to hessian should return a single Tensor")
    if out.numel() != 1:
        raise RuntimeError(
            "The Tensor returned by the function given to hessian should contain a single element"
        )
    return out.reshape(())


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """Second derivatives of a scalar (torch.autograd.functional.hessian).

    Raises:
        RuntimeError: the function does not return a tensor of one element.
    """
    one = isinstance(inputs, Tensor)
    xs = _listed(inputs)
    wanted = _watched(lambda *a: _scalar(func(*a)), strict)
    out = transforms.hessian(wanted, 0 if one else tuple(range(len(xs))))(*xs)
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
    value, pull = transforms.vjp(_watched(func, strict), *_listed(inputs))
    outs = _listed(value)
    vs = _vectors("outputs", v, outs, len(outs) == 1 and outs[0].numel() == 1)
    found = pull(vs[0] if isinstance(value, Tensor) else vs)
    grads = found[0] if one else tuple(found)
    return _finished(value, create_graph), _finished(grads, create_graph)


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> Any:
    """The value and its derivative along ``v`` (torch.autograd.functional.jvp)."""
    xs = _listed(inputs)
    vs = _vectors("inputs", v, xs, len(xs) == 1 and xs[0].numel() == 1)
    value, tangent = transforms.jvp(_watched(func, strict), xs, vs)
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
    vs = _vectors("inputs", v, xs, len(xs) == 1 and xs[0].numel() == 1)
    both = transforms.grad_and_value(
        _watched(lambda *a: _scalar(func(*a)), strict), tuple(range(len(xs)))
    )
    values = []

    def gradient(*a: Any) -> Any:
        found, value = both(*a)
        values.append(value)
        return found

    found = transforms.vjp(gradient, *xs)[1](vs)
    grads = found[0] if one else tuple(found)
    return _finished(values[0], create_graph), _finished(grads, create_graph)


def hvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> Any:
    """As ``vhp``: second derivatives are symmetric (torch.autograd.functional.hvp)."""
    return vhp(func, inputs, v, create_graph, strict)
