"""Functions that transform functions (torch.func), on top of gradients that are graphs
themselves.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from cupola.functional.creation import eye, zeros_like
from cupola.functional.joining import stack
from cupola.nn.utils.stateless import functional_call as _call
from cupola.tensor import Tensor, enable_grad
from cupola.tensor.backward import grad as _gradients
from cupola.utils._pytree import tree_flatten, tree_map, tree_unflatten

InDims = Any


def _tuple(argnums: Any) -> tuple[int, ...]:
    return (argnums,) if isinstance(argnums, int) else tuple(argnums)


def _watch(x: Any) -> Any:
    """The tensors of a nest with gradients; what they were made from stays reachable."""

    def one(t: Any) -> Any:
        if not isinstance(t, Tensor) or t.dtype.category < 2:
            return t
        return t.view_as(t) if t.requires_grad else t.detach().requires_grad_()

    return tree_map(one, x)


class _Depth(threading.local):
    """How many transformations the caller is inside of."""

    level = 0

    def __enter__(self) -> None:
        self.level += 1

    def __exit__(self, *exc: object) -> None:
        self.level -= 1


_inside = _Depth()


def _outer(xs: Any) -> bool:
    """Whether an enclosing transformation or an input's own history needs differentiable
    results.
    """
    return _inside.level > 0 or any(
        isinstance(t, Tensor) and t.requires_grad for t in tree_flatten(xs)[0]
    )


def _released(x: Any, keep: bool) -> Any:
    return x if keep else tree_map(lambda t: t.detach() if isinstance(t, Tensor) else t, x)


def _derivatives(outputs: list[Any], leaves: list[Any], seeds: Any, keep: bool = True) -> list[Any]:
    """Gradients, zeros where there is none."""
    live = [(o, s) for o, s in zip(outputs, seeds, strict=True) if o.requires_grad]
    wanted = [t for t in leaves if isinstance(t, Tensor) and t.requires_grad]
    if not live or not wanted:
        return [zeros_like(t) if isinstance(t, Tensor) else None for t in leaves]
    found = iter(
        _gradients(
            [o for o, _ in live],
            wanted,
            [s for _, s in live],
            retain_graph=True,
            create_graph=True,
            allow_unused=True,
        )
    )
    out = []
    for t in leaves:
        g = next(found) if isinstance(t, Tensor) and t.requires_grad else None
        out.append(zeros_like(t) if g is None and isinstance(t, Tensor) else g)
    return out


def grad_and_value(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Any:
    """A function that returns the gradient of ``func``'s scalar, and the scalar.

    Raises:
        RuntimeError: the result is not a scalar tensor.
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        chosen = _tuple(argnums)
        keep = _outer((args, kwargs))
        with enable_grad(), _inside:
            given = [_watch(a) if i in chosen else a for i, a in enumerate(args)]
            value = func(*given, **kwargs)
            aux = None
            if has_aux:
                value, aux = value
            if not isinstance(value, Tensor) or value.ndim:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor"
                )
            target = given[argnums] if isinstance(argnums, int) else tuple(given[i] for i in chosen)
            leaves, spec = tree_flatten(target)
            found = _derivatives([value], leaves, [None if value.requires_grad else value])
        gradient = _released(tree_unflatten(found, spec), keep)
        value, aux = _released(value, keep), _released(aux, keep)
        return (gradient, (value, aux)) if has_aux else (gradient, value)

    return wrapper


def grad(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Any:
    """A function that returns the gradient of ``func``'s scalar (torch.func.grad)."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapper


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """The value, and a function from cotangents to gradients (torch.func.vjp)."""
    keep = _outer(primals)
    with enable_grad(), _inside:
        given = _watch(primals)
        out = func(*given)
    aux = None
    if has_aux:
        out, aux = out
    outputs, _ = tree_flatten(out)
    leaves, spec = tree_flatten(given)

    def pull(cotangents: Any, **kwargs: Any) -> Any:
        found = _derivatives(outputs, leaves, tree_flatten(cotangents)[0])
        nest = tree_unflatten(found, spec)
        return nest if keep or _outer(cotangents) else _released(nest, False)

    value = _released(out, keep)
    return (value, pull, aux) if has_aux else (value, pull)


def jvp(
    func: Callable[..., Any],
    primals: Any,
    tangents: Any,
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    """The value and its derivative along tangents: the gradient of a gradient (torch.func.jvp)."""
    with enable_grad(), _inside:
        given = _watch(tuple(primals))
        out = func(*given)
        aux = None
        if has_aux:
            out, aux = out
        outputs, out_spec = tree_flatten(out)
        leaves, _ = tree_flatten(given)
        dummies = [zeros_like(o).requires_grad_() for o in outputs]
        pulled = _derivatives(outputs, leaves, dummies)
        wanted = tree_flatten(tuple(tangents))[0]
        pairs = [(p, t) for p, t in zip(pulled, wanted, strict=True) if p is not None]
        found = _derivatives([p for p, _ in pairs], dummies, [t for _, t in pairs])
    keep = _outer((primals, tangents))
    value = _released(out, keep)
    tangent = _released(tree_unflatten(found, out_spec), keep)
    return (value, tangent, aux) if has_aux else (value, tangent)


def jacrev(func: Callable[..., Any], argnums: Any = 0, *, has_aux: bool = False, **kw: Any) -> Any:
    """A function that returns the Jacobian: shape of the result, then of the input
    (torch.func.jacrev).
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        chosen = _tuple(argnums)
        keep = _outer((args, kwargs))
        with enable_grad(), _inside:
            given = [_watch(a) if i in chosen else a for i, a in enumerate(args)]
            out = func(*given, **kwargs)
            aux = None
            if has_aux:
                out, aux = out
            outputs, out_spec = tree_flatten(out)
            target = given[argnums] if isinstance(argnums, int) else tuple(given[i] for i in chosen)
            leaves, in_spec = tree_flatten(target)
            blocks = [tree_unflatten(_jacobian(o, leaves), in_spec) for o in outputs]
        jacobian = _released(tree_unflatten(blocks, out_spec), keep)
        return (jacobian, aux) if has_aux else jacobian

    return wrapper


def _jacobian(out: Tensor, leaves: list[Any]) -> list[Tensor]:
    n = out.numel()
    basis = eye(n, dtype=out.dtype, device=out.device).reshape(n, *out.shape)
    rows = [_derivatives([out], leaves, [basis[i]]) for i in range(n)]
    return [
        stack([row[k] for row in rows]).reshape(*out.shape, *leaf.shape)
        for k, leaf in enumerate(leaves)
    ]


def jacfwd(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False, **kw: Any) -> Any:
    """As jacrev: the same Jacobian (torch.func.jacfwd)."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Callable[..., Any], argnums: Any = 0) -> Any:
    """A function that returns second derivatives (torch.func.hessian)."""

    def inner(*args: Any, **kwargs: Any) -> Any:
        return jacrev(func, argnums)(*args, **kwargs)

    return jacrev(inner, argnums)


def _broadcast(dims: Any, args: Any, count: int) -> list[Any]:
    """One in_dim a leaf, from a number or a nest that is a prefix of the arguments."""
    if dims is None or isinstance(dims, int):
        return [dims] * count
    out: list[Any] = []
    parts = args.values() if isinstance(args, dict) else args
    each = dims.values() if isinstance(dims, dict) else dims
    for d, a in zip(each, parts, strict=True):
        out += _broadcast(d, a, len(tree_flatten(a)[0]))
    return out


def vmap(
    func: Callable[..., Any],
    in_dims: InDims = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Any:
    """Calls a function for each element of a batch and stacks the results (torch.func.vmap).

    The elements run one after the other in one graph.

    Raises:
        ValueError: there is nothing to map over, or the sizes differ.
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = tree_flatten(args)
        dims = _broadcast(in_dims, args, len(leaves))
        dims = [d if isinstance(x, Tensor) else None for x, d in zip(leaves, dims, strict=True)]
        sizes = {x.shape[d] for x, d in zip(leaves, dims, strict=True) if d is not None}
        extra, extra_spec = tree_flatten(kwargs)
        sizes |= {x.shape[0] for x in extra if isinstance(x, Tensor)}
        if len(sizes) != 1:
            raise ValueError(
                f"vmap: expected all mapped tensors to have one size in the mapped dimension, "
                f"got {sizes or 'none'}"
            )
        results = []
        for i in range(sizes.pop()):
            own = [x if d is None else x.select(d, i) for x, d in zip(leaves, dims, strict=True)]
            more = [x.select(0, i) if isinstance(x, Tensor) else x for x in extra]
            results.append(func(*tree_unflatten(own, spec), **tree_unflatten(more, extra_spec)))
        flat = [tree_flatten(r)[0] for r in results]
        out_spec = tree_flatten(results[0])[1]
        places = _broadcast(out_dims, results[0], len(flat[0]))
        return tree_unflatten(
            [
                columns[0] if d is None else stack(list(columns), d)
                for columns, d in zip(zip(*flat, strict=True), places, strict=True)
            ],
            out_spec,
        )

    return wrapper


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: Any = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Calls a module with other parameters and buffers (torch.func.functional_call)."""
    given = parameter_and_buffer_dicts
    if not isinstance(given, dict):
        given = {k: v for d in given for k, v in d.items()}
    return _call(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of equal modules, stacked (torch.func.stack_module_state)."""

    def gathered(kind: str) -> dict[str, Tensor]:
        each = [dict(getattr(m, kind)()) for m in models]
        return {k: stack([d[k] for d in each]).detach() for k in each[0]}

    parameters = gathered("named_parameters")
    for p in parameters.values():
        p.requires_grad_()
    return parameters, gathered("named_buffers")


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Any:
    """Returns the function: graphs are functional as they are recorded."""
    return func


def linearize(func: Callable[..., Any], *primals: Any) -> Any:
    """The value, and a function from tangents to derivatives (torch.func.linearize)."""

    def push(*tangents: Any) -> Any:
        return jvp(func, primals, tangents)[1]

    return func(*primals), push


__all__ = [
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "stack_module_state",
    "vjp",
    "vmap",
]
