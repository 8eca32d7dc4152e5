"""Gradients against finite differences (torch.autograd.gradcheck)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cupola.tensor import Tensor, enable_grad, from_numpy, no_grad
from cupola.tensor.backward import grad


class GradcheckError(RuntimeError):
    """A gradient does not agree with finite differences."""


def _listed(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (list, tuple)) else [x]


def _outputs(func: Callable[..., Any], inputs: list[Any]) -> list[Tensor]:
    found = _listed(func(*inputs))
    return [o for o in found if isinstance(o, Tensor) and o.dtype.is_floating_point]


def _numerical(
    func: Callable[..., Any], inputs: list[Any], k: int, eps: float
) -> list[np.ndarray[Any, Any]]:
    """For each output, the matrix (input elements, output elements) of central differences."""
    x = inputs[k]
    base = x.detach().cpu().numpy().copy()
    rows: list[list[Any]] = []
    with no_grad():
        for i in range(base.size):
            sides = []
            for sign in (1, -1):
                moved = base.copy()
                moved.reshape(-1)[i] += sign * eps
                given = list(inputs)
                given[k] = from_numpy(moved).to(x.device)
                outs = _outputs(func, given)
                sides.append([o.detach().cpu().numpy().astype(np.float64).ravel() for o in outs])
            rows.append([(a - b) / (2 * eps) for a, b in zip(*sides, strict=True)])
    count = len(_outputs(func, inputs))
    return [np.array([r[j] for r in rows]) for j in range(count)]


def _analytical(outputs: list[Tensor], x: Tensor) -> list[np.ndarray[Any, Any]]:
    """The same matrices by backward passes, one for each output element."""
    found = []
    for o in outputs:
        columns = []
        for j in range(o.numel()):
            seed = np.zeros(tuple(o.shape), o.dtype.np)
            seed.reshape(-1)[j] = 1
            if not o.requires_grad:
                columns.append(np.zeros(x.numel()))
                continue
            (g,) = grad(
                [o], [x], [from_numpy(seed).to(o.device)], retain_graph=True, allow_unused=True
            )
            zeros = np.zeros(x.numel())
            columns.append(zeros if g is None else g.detach().cpu().numpy().astype(float).ravel())
        found.append(np.array(columns).reshape(o.numel(), x.numel()).T)
    return found


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
    """Whether gradients of ``func(*inputs)`` agree with central differences
    (torch.autograd.gradcheck).

    Real inputs that require a gradient are checked, in every element; they should be float64. Of
    the options, ``eps``, ``atol``, ``rtol`` and ``raise_exception`` have an effect.

    Raises:
        GradcheckError: they do not agree; the text names the output, the input and both values.
        ValueError: no input requires a gradient.
    """
    given = _listed(inputs)
    wanted = [
        k
        for k, x in enumerate(given)
        if isinstance(x, Tensor) and x.requires_grad and x.dtype.is_floating_point
    ]
    if not wanted:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the "
            "them have requires_grad=True."
        )
    with enable_grad():
        outputs = _outputs(func, given)
        for k in wanted:
            exact = _analytical(outputs, given[k])
            for j, numeric in enumerate(_numerical(func, given, k, eps)):
                if np.allclose(exact[j], numeric, rtol, atol):
                    continue
                if not raise_exception:
                    return False
                raise GradcheckError(
                    f"Jacobian mismatch for output {j} with respect to input {k},\n"
                    f"numerical:{numeric}\nanalytical:{exact[j]}\n"
                )
    return True


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
    """Whether second derivatives agree with differences of first ones
    (torch.autograd.gradgradcheck).

    Raises:
        GradcheckError: they do not agree.
    """
    given = _listed(inputs)
    outputs = _outputs(func, given)
    if grad_outputs is None:
        drawn = np.random.default_rng(0)
        seeds: Sequence[Any] = [
            from_numpy(drawn.standard_normal(tuple(o.shape)).astype(o.dtype.np))
            .to(o.device)
            .requires_grad_()
            for o in outputs
        ]
    else:
        seeds = _listed(grad_outputs)
    wanted = [k for k, x in enumerate(given) if isinstance(x, Tensor) and x.requires_grad]
    count = len(given)

    def first(*args: Any) -> Any:
        xs = [
            x if k not in wanted or x.requires_grad else x.detach().requires_grad_()
            for k, x in enumerate(args[:count])
        ]
        with enable_grad():
            outs = _outputs(func, xs)
            found = grad(
                outs, [xs[k] for k in wanted], list(args[count:]), create_graph=True,
                allow_unused=True,
            )  # fmt: skip
        return tuple(g for g in found if g is not None)

    return gradcheck(
        first, (*given, *seeds), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception
    )
