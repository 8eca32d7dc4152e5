"""vmap: a function of one example as a function of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from cupola.functional._convert import wrap_dim
from cupola.ops import movement
from cupola.tensor import Tensor, wrap
from cupola.tensor.batching import Level, entered, moved
from cupola.utils._pytree import tree_flatten, tree_unflatten

InDims = Any


def _spread_dims(dims: Any, nest: Any, name: str) -> list[Any]:
    """One dimension a leaf, from a number or a nest that is a prefix of the arguments.

    Raises:
        ValueError: the nests do not fit.
    """
    if dims is None or isinstance(dims, int):
        return [dims] * len(tree_flatten(nest)[0])
    if type(dims) is not type(nest) or len(dims) != len(nest):
        raise ValueError(
            f"vmap: {name} does not have the structure of what it describes: got {name}={dims}"
        )
    out: list[Any] = []
    if isinstance(nest, dict):
        for key, value in nest.items():
            out += _spread_dims(dims[key], value, name)
        return out
    for d, value in zip(dims, nest, strict=True):
        out += _spread_dims(d, value, name)
    return out


def _in_dims(in_dims: Any, args: tuple[Any, ...], leaves: list[Any]) -> list[Any]:
    if not isinstance(in_dims, (int, tuple)):
        if isinstance(in_dims, list):
            in_dims = tuple(in_dims)
        else:
            raise ValueError(
                f"vmap: expected in_dims to be int or a (potentially nested) tuple, got {in_dims}"
            )
    out = []
    for x, d in zip(leaves, _spread_dims(in_dims, args, "in_dims"), strict=True):
        if d is None:
            out.append(None)
            continue
        if isinstance(d, bool) or not isinstance(d, int):
            raise ValueError(f"vmap: in_dims must hold ints and None, got {d!r}")
        if not isinstance(x, Tensor):
            raise ValueError(
                f"vmap: got in_dim={d} for an input of type {type(x)}, which is no tensor; use "
                "None as its in_dim"
            )
        if not -x.ndim <= d < x.ndim:
            raise ValueError(
                f"vmap: got in_dim={d} for a tensor of dimensionality {x.ndim}: it has to be in "
                f"[-{x.ndim}, {x.ndim})"
            )
        out.append(d % x.ndim)
    return out


def vmap(
    func: Callable[..., Any],
    in_dims: InDims = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Any:
    """A function that maps ``func`` over a dimension of its arguments (torch.func.vmap).

    ``func`` is recorded once, on one example; the record is then repeated for the batch by a rule
    a primitive.

    Keyword arguments are passed on as they are.

    Args:
        in_dims: the mapped dimension of each argument (None: not mapped), an int or a nest.
        out_dims: where the mapped dimension goes in each result.
        randomness: ``error``, ``same`` (one draw for all examples) or ``different``.
        chunk_size: examples at a time; all at once by default.

    Raises:
        ValueError: there is nothing to map over, the sizes differ, or dimensions do not fit.
        RuntimeError: ``func`` asks for the value of a mapped tensor, or draws random numbers with
            ``randomness="error"``.
    """
    if randomness not in ("error", "same", "different"):
        raise RuntimeError(
            "Only allowed values for randomness are 'error', 'different', or 'same'. Got "
            f"{randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = tree_flatten(args)
        dims = _in_dims(in_dims, args, leaves)
        sizes = {x.shape[d] for x, d in zip(leaves, dims, strict=True) if d is not None}
        if not sizes:
            raise ValueError("vmap: there is nothing to map over: give at least one in_dim")
        if len(sizes) != 1:
            raise ValueError(
                "vmap: Expected all tensors to have the same size in the mapped dimension, got "
                f"sizes {sorted(sizes)} for the mapped dimension"
            )
        count = sizes.pop()

        step = count if chunk_size is None else chunk_size
        nodes = [x if d is None else moved(x.node, 0, d) for x, d in zip(leaves, dims, strict=True)]
        parts: list[Any] = []
        out_spec: Any = None
        places: list[Any] = []
        written: dict[int, list[Any]] = {}
        for at in range(0, max(count, 1), max(step, 1)):
            size = min(step, count - at)
            level = Level(size, randomness)
            given = [
                x if d is None else wrap(level.lane(_part(x, at, size, count)))
                for x, d in zip(nodes, dims, strict=True)
            ]
            before = [x.node if isinstance(x, Tensor) else None for x in given]
            with entered(level):
                result = func(*tree_unflatten(given, spec), **kwargs)
            for k, rows in _written(level, given, before, dims):
                written.setdefault(k, []).append(rows)
            flat, out_spec = tree_flatten(result)
            for value in flat:
                if not isinstance(value, Tensor):
                    raise ValueError(
                        f"vmap({getattr(func, '__name__', func)}, ...): `{func}` must only return "
                        f"Tensors, got type {type(value)}"
                    )
            places = _spread_dims(out_dims, result, "out_dims")
            recorded = [v.node for v in flat]
            batched = level.spread(recorded)
            parts.append((recorded, batched, level))
        results = _joined(parts, places)
        for k, chunks in written.items():
            whole = chunks[0] if len(chunks) == 1 else movement.cat(*chunks, dim=0)
            leaves[k].copy_(wrap(moved(whole, dims[k])))
        return tree_unflatten(results, out_spec)

    return wrapper


def _written(level: Level, given: list[Any], before: list[Any], dims: list[Any]) -> Any:
    """The arguments that the function wrote into, by position, with their new rows.

    Raises:
        RuntimeError: numbers of each example were written into an argument that all share.
    """
    for k, (x, node) in enumerate(zip(given, before, strict=True)):
        if node is None or x.node is node:
            continue
        (batched,) = level.spread([x.node])
        if dims[k] is not None:
            yield k, level.full(batched, x.node)
        elif batched is not None:
            shape = list(x.shape)
            x.assign(node)
            raise RuntimeError(
                f"output with shape {shape} doesn't match the broadcast shape "
                f"{[level.size, *shape]}"
            )


def _part(node: Any, at: int, size: int, count: int) -> Any:
    if size == count:
        return node
    shape = node.shape
    return movement.slice(
        node,
        starts=(at, *(0,) * (len(shape) - 1)),
        stops=(at + size, *shape[1:]),
        steps=(1,) * len(shape),
    )


def _joined(parts: list[Any], places: list[Any]) -> list[Tensor]:
    """The results of the chunks, one after the other, the batch where ``out_dims`` says."""
    results = []
    for k, place in enumerate(places):
        if place is None:
            recorded, batched, _ = parts[0]
            if batched[k] is not None:
                raise ValueError(
                    "vmap: out_dims is None for a result that differs from example to example"
                )
            results.append(wrap(recorded[k]))
            continue
        rows = [level.full(batched[k], recorded[k]) for recorded, batched, level in parts]
        node = rows[0] if len(rows) == 1 else movement.cat(*rows, dim=0)
        results.append(wrap(moved(node, wrap_dim(place, node.ndim))))
    return results
