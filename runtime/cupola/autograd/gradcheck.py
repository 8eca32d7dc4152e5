"""Gradients against finite differences (torch.autograd.gradcheck)."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from cupola.tensor import Tensor, enable_grad, no_grad
from cupola.tensor.backward import grad

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """Gradients and finite differences do not agree."""


def _tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _tensors(x: Any) -> list[Tensor]:
    return [t for t in _tuple(x) if isinstance(t, Tensor)]


def _differentiable(x: Any) -> list[Tensor]:
    return [t for t in _tensors(x) if t.dtype.category >= 2 and t.requires_grad]


def _array(x: Tensor) -> Any:
    return x.detach().cpu().numpy()


def _numerical(f: Callable[[Tensor], Any], x: Tensor, eps: float) -> list[Any]:
    """For each result the matrix (elements of ``x``, elements of the result); of complex ``x`` one
    matrix along the real and one along the imaginary axis.
    """
    value = _array(x)
    found = []
    for axis in (1.0, 1j) if x.dtype.is_complex else (1.0,):
        rows = []
        for k in range(value.size):
            ends = []
            for sign in (1, -1):
                moved = value.copy()
                moved.reshape(-1)[k] += sign * eps * axis
                with no_grad():
                    ends.append([_array(o) for o in _tensors(f(_like(moved, x)))])
            rows.append([(a - b).reshape(-1) / (2 * eps) for a, b in zip(*ends, strict=True)])
        found.append(rows)
    count = len(found[0][0]) if value.size else 0
    return [[np.stack([row[j] for row in rows]) for rows in found] for j in range(count)]


def _like(array: Any, x: Tensor) -> Tensor:
    from cupola.tensor import from_numpy

    made: Tensor = from_numpy(array.copy()).to(x.device)
    return made.requires_grad_() if x.requires_grad and x.is_leaf else made


def _analytical(out: Tensor, x: Tensor, axis: complex) -> Any:
    """The same matrix by backward passes: of the real part of ``out``, or of the imaginary one."""
    rows = []
    for k in range(out.numel()):
        seed = np.zeros(tuple(out.shape), out.dtype.np)
        seed.reshape(-1)[k] = axis
        (g,) = grad([out], [x], [_like(seed, out)], retain_graph=True, allow_unused=True)
        rows.append(np.zeros(x.numel(), x.dtype.np) if g is None else _array(g).reshape(-1))
    return np.stack(rows, 1) if rows else np.zeros((x.numel(), 0))


def _pairs(out: Tensor, x: Tensor, parts: list[Any]) -> list[tuple[str, Any, Any]]:
    """(what, numerical, analytical) for each combination of real and imaginary parts."""
    seeds = ((1.0, np.real), (1j, np.imag)) if out.dtype.is_complex else ((1.0, np.real),)
    pairs = []
    for seed, part in seeds:
        found = _analytical(out, x, seed)
        # The gradient of a real number holds its derivatives along both axes of the input.
        for derivative, side in zip(parts, (np.real, np.imag), strict=False):
            pairs.append((part.__name__, part(derivative), side(found)))
    return pairs


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compares gradients of ``func`` with central differences of step ``eps``
    (torch.autograd.gradcheck). Inputs should be float64.

    Args:
        check_batched_grad: also compare gradients of several rows at once with single ones.
        check_forward_ad: also compare derivatives along tangents.

    Raises:
        GradcheckError: they differ (with ``raise_exception``; else the result is False).
        ValueError: no input requires a gradient.
    """
    try:
        with enable_grad():
            given = _tuple(inputs)
            return _checked(func, given, eps, atol, rtol, check_batched_grad, check_forward_ad)
    except GradcheckError:
        if raise_exception:
            raise
        return False


def _checked(
    func: Any, inputs: Any, eps: float, atol: float, rtol: float, batched: bool, forward: bool
) -> bool:
    wanted = _differentiable(inputs)
    if not wanted:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the "
            "them have requires_grad=True."
        )
    for x in wanted:
        if x.dtype.name not in ("float64", "complex128"):
            warnings.warn(
                "Input has a dtype of less than double precision: the check will likely fail",
                stacklevel=3,
            )
    outputs = [o for o in _tensors(func(*inputs)) if o.dtype.category >= 2]
    for k, x in enumerate(wanted):
        at = next(i for i, t in enumerate(inputs) if t is x)
        of_one = functools.partial(_with, func, inputs, at)
        numerical = _numerical(of_one, x, eps)
        for j, out in enumerate(outputs):
            if not numerical or not out.requires_grad:
                continue
            for what, n, a in _pairs(out, x, numerical[j]):
                if not np.allclose(a, n, rtol=rtol, atol=atol, equal_nan=True):
                    raise GradcheckError(
                        f"Jacobian mismatch for output {j} with respect to input {k} "
                        f"({what} part),\nnumerical:{n}\nanalytical:{a}\n"
                    )
            if batched:
                _check_batched(out, x, j, k)
        if forward:
            _check_forward(of_one, x, numerical, (rtol, atol), k)
    return True


def _check_batched(out: Tensor, x: Tensor, j: int, k: int) -> None:
    seeds = np.random.default_rng(0).standard_normal((3, *out.shape)).astype(out.dtype.np)
    many = grad([out], [x], [_like(seeds, out)], True, is_grads_batched=True, allow_unused=True)[0]
    for row in range(3):
        one = grad([out], [x], [_like(seeds[row], out)], True, allow_unused=True)[0]
        if (one is None) != (many is None):
            raise GradcheckError(f"batched gradient of output {j} for input {k} is missing")
        if one is not None and not np.allclose(_array(many)[row], _array(one), 1e-3, 1e-5):
            raise GradcheckError(f"batched gradient of output {j} for input {k} differs")


def _with(func: Any, inputs: Any, at: int, x: Tensor) -> tuple[Tensor, ...]:
    """The floating results of ``func`` with another tensor as one of its inputs."""
    found = _tensors(func(*inputs[:at], x, *inputs[at + 1 :]))
    return tuple(o for o in found if o.dtype.category >= 2)


def _check_forward(of_one: Any, x: Tensor, numerical: Any, tolerance: Any, k: int) -> None:
    from cupola.func import jvp

    for axis, side in ((1.0, 0), (1j, 1))[: len(numerical[0]) if numerical else 0]:
        for e in range(x.numel()):
            tangent = np.zeros(tuple(x.shape), x.dtype.np)
            tangent.reshape(-1)[e] = axis
            found = jvp(of_one, (x.detach(),), (_like(tangent, x),))[1]
            for j, t in enumerate(found):
                if not np.allclose(_array(t).reshape(-1), numerical[j][side][e], *tolerance):
                    raise GradcheckError(
                        f"forward derivative mismatch for output {j} with respect to input {k}"
                    )


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Compares second derivatives with central differences of first ones
    (torch.autograd.gradgradcheck).

    Raises:
        GradcheckError: they differ (with ``raise_exception``; else the result is False).
    """
    given = _tuple(inputs)
    outputs = [o for o in _tensors(func(*given)) if o.requires_grad]
    if grad_outputs is None:
        source = np.random.default_rng(0)
        seeds = []
        for o in outputs:
            drawn = source.standard_normal(tuple(o.shape)).astype(o.dtype.np)
            seeds.append(_like(np.asarray(drawn), o).requires_grad_())
    else:
        seeds = list(_tuple(grad_outputs))
    count = len(given)

    def gradients(*values: Any) -> Any:
        xs, gs = values[:count], values[count:]
        with enable_grad():
            made = [o for o in _tensors(func(*xs)) if o.requires_grad]
            wanted = _differentiable(xs)
            found = grad(made, wanted, list(gs), create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        gradients,
        (*given, *seeds),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        check_batched_grad=check_batched_grad,
    )
