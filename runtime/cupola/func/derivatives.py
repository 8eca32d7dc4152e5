"""Derivatives of functions as functions, on top of gradients that are graphs themselves."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from cupola.functional.creation import eye, zeros_like
from cupola.functional.joining import cat
from cupola.ir import source
from cupola.ir.mode import transposes
from cupola.tensor import Tensor, enable_grad, wrap
from cupola.tensor.backward import grad as _gradients
from cupola.tensor.batching import Level, entered, on_lanes
from cupola.utils._pytree import tree_flatten, tree_map, tree_unflatten


def _chosen(argnums: Any, args: tuple[Any, ...]) -> tuple[int, ...]:
    """The positions to differentiate at.

    Raises:
        RuntimeError: there is no such argument.
    """
    if not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    chosen = _tuple(argnums)
    if len(set(chosen)) != len(chosen):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    for k in chosen:
        if not -len(args) <= k < len(args):
            raise RuntimeError(f"Got argnum={k}, but only {len(args)} positional inputs")
    return tuple(k % len(args) for k in chosen)


def _tuple(argnums: Any) -> tuple[int, ...]:
    return (argnums,) if isinstance(argnums, int) else tuple(argnums)


def _watch(x: Any) -> Any:
    """The tensors of a nest with gradients; what they were made from stays reachable."""

    def one(t: Any) -> Any:
        if not isinstance(t, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(t)}")
        if t.dtype.category < 2:
            raise RuntimeError(
                "only Tensors of floating point and complex dtype can require gradients"
            )
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


def is_inside() -> bool:
    """Whether the caller is inside a transformation (grad, vjp, jvp, ...; vmap too)."""
    return _inside.level > 0 or on_lanes()


def _outer(xs: Any) -> bool:
    """Whether an enclosing transformation or an input's own history needs differentiable
    results.
    """
    return _inside.level > 0 or any(
        isinstance(t, Tensor) and t.requires_grad for t in tree_flatten(xs)[0]
    )


def _reaches(outputs: list[Any], inputs: list[Any]) -> bool:
    """Whether results depend on leaves other than the inputs: on what the function closes over."""
    own = {id(t.node) for t in inputs}
    stack = [t.node for t in outputs if isinstance(t, Tensor)]
    seen = {id(n) for n in stack}
    while stack:
        node = stack.pop()
        if id(node) in own or not node.requires_grad:
            continue
        if node.op is source.LEAF:
            return True
        fresh = [n for n in node.srcs if id(n) not in seen]
        seen.update(map(id, fresh))
        stack += fresh
    return False


def _with_aux(result: Any, name: str) -> Any:
    """(output, aux).

    Raises:
        RuntimeError: the function returned something else.
    """
    if not isinstance(result, tuple) or len(result) != 2:
        raise RuntimeError(
            f"{name}: output of function f should be a tuple: (output, aux) if has_aux is True"
        )
    return result


def _only_tensors(outputs: list[Any], name: str) -> None:
    for o in outputs:
        if not isinstance(o, Tensor):
            raise RuntimeError(
                f"{name}: expected f(*primals) to return only tensors, got unsupported type "
                f"{type(o)}"
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
        chosen = _chosen(argnums, args)
        keep = _outer((args, kwargs))
        with enable_grad(), _inside:
            given = [_watch(a) if i in chosen else a for i, a in enumerate(args)]
            value = func(*given, **kwargs)
            aux = None
            if has_aux:
                value, aux = _with_aux(value, "grad_and_value(f)(*args)")
            if not isinstance(value, Tensor) or value.ndim:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor"
                )
            if value.dtype.is_complex:
                raise RuntimeError(
                    "grad can be implicitly created only for real scalar outputs but got "
                    f"{value.dtype}"
                )
            target = given[argnums] if isinstance(argnums, int) else tuple(given[i] for i in chosen)
            leaves, spec = tree_flatten(target)
            keep = keep or _reaches([value], leaves)
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
        out, aux = _with_aux(out, "vjp(f, *primals)")
    outputs, out_spec = tree_flatten(out)
    _only_tensors(outputs, "vjp(f, *primals)")
    leaves, spec = tree_flatten(given)
    keep = keep or _reaches(outputs, leaves)

    def pull(cotangents: Any, **kwargs: Any) -> Any:
        if tree_flatten(cotangents)[1] != out_spec:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of "
                "outputs to the function."
            )
        found = _derivatives(outputs, leaves, tree_flatten(cotangents)[0])
        nest = tree_unflatten(found, spec)
        return nest if keep or _outer(cotangents) else _released(nest, False)

    value = _released(out, keep)
    return (value, pull, _released(aux, keep)) if has_aux else (value, pull)


def _pulled(func: Callable[..., Any], primals: Any, has_aux: bool) -> Any:
    """A function's results, and its pullback of cotangents that are leaves: what is linear in them
    is differentiated once more for derivatives along tangents.
    """
    given = _watch(tuple(primals))
    out = func(*given)
    aux = None
    if has_aux:
        out, aux = _with_aux(out, "jvp(f, primals, tangents)")
    outputs, spec = tree_flatten(out)
    _only_tensors(outputs, "jvp(f, primals, tangents)")
    leaves, _ = tree_flatten(given)
    dummies = [zeros_like(o).requires_grad_() for o in outputs]
    with transposes():
        pulled = _derivatives(outputs, leaves, dummies)
    return out, spec, aux, dummies, pulled


def _pushed(pulled: list[Any], dummies: list[Any], tangents: Any) -> list[Any]:
    """Derivatives of the results along tangents."""
    pairs = [
        (p, t.to(p.dtype) if t.dtype != p.dtype else t)
        for p, t in zip(pulled, tree_flatten(tangents)[0], strict=True)
        if isinstance(p, Tensor)
    ]
    return _derivatives([p for p, _ in pairs], dummies, [t for _, t in pairs])


def jvp(
    func: Callable[..., Any],
    primals: Any,
    tangents: Any,
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    """The value and its derivative along tangents: the gradient of a gradient (torch.func.jvp).

    Raises:
        RuntimeError: primals and tangents are no tuples of the same structure.
    """
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple):
            raise RuntimeError(
                f"jvp(f, primals, tangents): Expected {name} to be a tuple, got {type(given)}"
            )
    if tree_flatten(primals)[1] != tree_flatten(tangents)[1]:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals and tangents to have the same structure"
        )
    if not tree_flatten(primals)[0]:
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals to contain at least one Tensor."
        )
    with enable_grad(), _inside:
        out, spec, aux, dummies, pulled = _pulled(func, primals, has_aux)
        if strict and not all(o.requires_grad for o in tree_flatten(out)[0]):
            raise RuntimeError(
                "jvp(f, primals, tangents, strict=True): The output of f is independent of the "
                "inputs. This is not allowed with strict=True."
            )
        found = _pushed(pulled, dummies, tangents)
    keep = _outer((primals, tangents))
    value = _released(out, keep)
    tangent = _released(tree_unflatten(found, spec), keep)
    aux = _released(aux, keep)
    return (value, tangent, aux) if has_aux else (value, tangent)


def linearize(func: Callable[..., Any], *primals: Any) -> Any:
    """The value, and a function from tangents to derivatives; the function is recorded once
    (torch.func.linearize).
    """
    with enable_grad(), _inside:
        out, spec, _, dummies, pulled = _pulled(func, primals, False)
    keep = _outer(primals)

    def push(*tangents: Any) -> Any:
        if tree_flatten(tangents)[1] != tree_flatten(primals)[1]:
            raise RuntimeError("Expected the tangents to have the same argspec as the primals")
        found = _pushed(pulled, dummies, tangents)
        return _released(tree_unflatten(found, spec), keep or _outer(tangents))

    return _released(out, keep), push


def _basis(x: Tensor) -> Tensor:
    n = x.numel()
    return eye(n, dtype=x.dtype, device=x.device).reshape(n, *x.shape)


def _for_each(basis: Tensor, chunk: int | None, function: Callable[[Tensor], list[Any]]) -> Any:
    """A function of one row, recorded once and computed for all rows (or ``chunk`` at a time)."""
    n = basis.shape[0]
    step = n if chunk is None else chunk
    if step < 0 or not step and n:
        raise ValueError("jacobian: `chunk_size` should be greater than 0.")
    parts = []
    for at in range(0, n, step or 1):
        rows = basis[at : at + step]
        level = Level(rows.shape[0], "same")
        with entered(level):
            found = function(wrap(level.lane(rows.node)))
        nodes = [f.node for f in found]
        batched = level.spread(nodes)
        parts.append([wrap(level.full(b, n)) for b, n in zip(batched, nodes, strict=True)])
    if not parts:
        return None
    return [cat(list(column)) for column in zip(*parts, strict=True)]


def jacrev(
    func: Callable[..., Any],
    argnums: Any = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Any:
    """A function that returns the Jacobian, by one backward pass over all rows: shape of the
    result, then of the input (torch.func.jacrev).
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen(argnums, args)
        keep = _outer((args, kwargs))
        with enable_grad(), _inside:
            given = [_watch(a) if i in chosen else a for i, a in enumerate(args)]
            out = func(*given, **kwargs)
            aux = None
            if has_aux:
                out, aux = _with_aux(out, "vjp(f, *primals)")
            outputs, out_spec = tree_flatten(out)
            _only_tensors(outputs, "vjp(f, *primals)")
            target = given[argnums] if isinstance(argnums, int) else tuple(given[i] for i in chosen)
            leaves, in_spec = tree_flatten(target)
            keep = keep or _reaches(outputs, leaves)
            blocks = [_rows_of(o, leaves, chunk_size) for o in outputs]
            blocks = [tree_unflatten(b, in_spec) for b in blocks]
        jacobian = _released(tree_unflatten(blocks, out_spec), keep)
        return (jacobian, _released(aux, keep)) if has_aux else jacobian

    return wrapper


def _rows_of(out: Tensor, leaves: list[Any], chunk: int | None) -> list[Tensor]:
    found = _for_each(_basis(out), chunk, lambda row: _derivatives([out], leaves, [row]))
    if found is None:
        return [out.new_zeros((*out.shape, *leaf.shape)) for leaf in leaves]
    return [f.reshape(*out.shape, *leaf.shape) for f, leaf in zip(found, leaves, strict=True)]


def jacfwd(
    func: Callable[..., Any],
    argnums: Any = 0,
    has_aux: bool = False,
    *,
    chunk_size: int | None = None,
    randomness: str = "error",
) -> Any:
    """A function that returns the Jacobian, by derivatives along all directions at once
    (torch.func.jacfwd).
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen(argnums, args)
        keep = _outer((args, kwargs))
        target = args[argnums] if isinstance(argnums, int) else tuple(args[i] for i in chosen)

        def of_chosen(*values: Any) -> Any:
            full = list(args)
            for i, v in zip(chosen, values, strict=True):
                full[i] = v
            return func(*full, **kwargs)

        with enable_grad(), _inside:
            out, spec, aux, dummies, pulled = _pulled(of_chosen, [args[i] for i in chosen], has_aux)
            leaves, in_spec = tree_flatten(target)
            pairs = zip(pulled, leaves, strict=True)
            columns = [_columns_of(p, x, dummies, chunk_size) for p, x in pairs]
            blocks = [tree_unflatten([c[k] for c in columns], in_spec) for k in range(len(dummies))]
        jacobian = _released(tree_unflatten(blocks, spec), keep)
        return (jacobian, _released(aux, keep)) if has_aux else jacobian

    return wrapper


def _columns_of(pulled: Tensor, x: Tensor, outputs: list[Any], chunk: int | None) -> list[Tensor]:
    found = _for_each(_basis(x), chunk, lambda row: _derivatives([pulled], outputs, [row]))
    if found is None:
        return [o.new_zeros((*o.shape, *x.shape)) for o in outputs]
    columns = []
    for f, o in zip(found, outputs, strict=True):
        order = (*range(1, o.ndim + 1), 0)
        columns.append(f.permute(order).reshape(*o.shape, *x.shape))
    return columns


def hessian(func: Callable[..., Any], argnums: Any = 0) -> Any:
    """A function that returns second derivatives (torch.func.hessian)."""
    return jacfwd(jacrev(func, argnums), argnums)
