"""One rule a primitive: its result for a batch, the first dimension of every mapped operand.

``rule(node, mapped, size)``: ``node`` is the record for one example, ``mapped`` the batched
operands (None where an operand is the same for all), ``size`` the number of examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from cupola.dtypes import int64
from cupola.ir import source
from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops import elementwise, index, movement, special

Rule = Callable[[Node, list[Any], int], Any]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enters a rule into the table."""

    def enter(f: Rule) -> Rule:
        for name in names:
            RULES[name] = f
        return f

    return enter


def whole(batched: Node | None, node: Node, size: int) -> Node:
    """The batched operand, or the operand repeated for every example."""
    if batched is not None:
        return batched
    shape = (size, *node.shape)
    if node.op is source.CONST:
        return source.const(node.attrs["value"], shape, node.dtype, node.device)
    return movement.expand(movement.reshape(node, shape=(1, *node.shape)), shape=shape)


def wholes(node: Node, mapped: list[Any], size: int) -> list[Node]:
    """All operands, batched."""
    return [whole(m, s, size) for m, s in zip(mapped, node.srcs, strict=True)]


def by_example(node: Node, mapped: list[Any], size: int) -> Any:
    """The examples one by one, joined: for primitives without a rule."""
    results = []
    for i in range(size):
        srcs = [s if m is None else _example(m, i) for m, s in zip(mapped, node.srcs, strict=True)]
        results.append(node.op(*srcs, **node.attrs))
    if node.op.multi:
        columns = [[source.item(r, k) for r in results] for k in range(len(node.shape))]
        return tuple(_joined(c) for c in columns)
    return _joined(results)


def _example(batched: Node, i: int) -> Node:
    shape = batched.shape
    starts, stops = (i, *(0,) * (len(shape) - 1)), (i + 1, *shape[1:])
    part = movement.slice(batched, starts=starts, stops=stops, steps=(1,) * len(shape))
    return movement.reshape(part, shape=shape[1:])


def _joined(nodes: list[Node]) -> Node:
    rows = [movement.reshape(n, shape=(1, *n.shape)) for n in nodes]
    return movement.cat(*rows, dim=0)


def _up(dims: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(d + 1 for d in dims)


# --- elementwise functions, and library functions that take any leading dimensions

_LEADING = (
    "cholesky determinant determinant_log determinant_sign eig eigh eigvalsh inverse ldl ldl_solve "
    "lu lu_permutation lu_pivots matrix_exp pinv qr reflections solve solve_triangular svd svdvals "
    "cholesky_solve inverse_or triangle copy"
).split()
_POINTWISE = [v.name for v in vars(special).values() if isinstance(v, Primitive)]


@rule("elementwise", *_LEADING, *_POINTWISE)
def _same(node: Node, mapped: list[Any], size: int) -> Any:
    return node.op(*wholes(node, mapped, size), **node.attrs)


@rule(
    *"argsort cummax_index cummin_index cumprod cumprod_grad cumsum exclusive_cumprod".split(),
    *"gather scatter rdft irdft cat iota logcumsumexp unstable top kth".split(),
)
def _along(node: Node, mapped: list[Any], size: int) -> Any:
    attrs = {**node.attrs, "dim": node.attrs["dim"] + 1}
    return node.op(*wholes(node, mapped, size), **attrs)


@rule("sum", "prod", "amax", "amin", "argmax", "argmin", "xor", "dft", "flip")
def _over(node: Node, mapped: list[Any], size: int) -> Any:
    attrs = {**node.attrs, "dims": _up(node.attrs["dims"])}
    return node.op(*wholes(node, mapped, size), **attrs)


# --- movement


@rule("expand", "reshape")
def _shaped(node: Node, mapped: list[Any], size: int) -> Any:
    return node.op(mapped[0], shape=(size, *node.attrs["shape"]))


@rule("permute")
def _permute(node: Node, mapped: list[Any], size: int) -> Any:
    return movement.permute(mapped[0], dims=(0, *_up(node.attrs["dims"])))


@rule("slice", "slice_update")
def _slice(node: Node, mapped: list[Any], size: int) -> Any:
    a = node.attrs
    return node.op(
        *wholes(node, mapped, size),
        starts=(0, *a["starts"]),
        stops=(size, *a["stops"]),
        steps=(1, *a["steps"]),
    )


@rule("pad")
def _pad(node: Node, mapped: list[Any], size: int) -> Any:
    a = node.attrs
    return movement.pad(mapped[0], pairs=((0, 0), *a["pairs"]), value=a["value"])


@rule("window")
def _window(node: Node, mapped: list[Any], size: int) -> Any:
    return movement.window(mapped[0], **node.attrs)


@rule("fold")
def _fold(node: Node, mapped: list[Any], size: int) -> Any:
    return movement.fold(mapped[0], **{**node.attrs, "shape": (size, *node.attrs["shape"])})


@rule("pool_take", "pool_put")
def _pool(node: Node, mapped: list[Any], size: int) -> Any:
    attrs = {**node.attrs, "axes": _up(node.attrs["axes"])}
    return node.op(*wholes(node, mapped, size), **attrs)


@rule("as_strided", "as_strided_update", "as_strided_add")
def _strided(node: Node, mapped: list[Any], size: int) -> Any:
    a = dict(node.attrs)
    into = a["into"] if "into" in a else node.srcs[0].shape
    a["shape"], a["strides"] = (size, *a["shape"]), (math.prod(into), *a["strides"])
    if "into" in a:
        a["into"] = (size, *into)
    return node.op(*wholes(node, mapped, size), **a)


# --- matrix products


@rule("matmul")
def _matmul(node: Node, mapped: list[Any], size: int) -> Any:
    a, b = mapped
    x, y = node.srcs
    if b is None and y.ndim == 2:  # one tall product
        tall = movement.reshape(a, shape=(size * x.shape[0], x.shape[1]))
        return movement.reshape(node.op(tall, y), shape=(size, *node.shape))
    if a is None and x.ndim == 2:  # one wide product
        wide = movement.reshape(
            movement.permute(b, dims=(1, 0, 2)), shape=(y.shape[0], size * y.shape[1])
        )
        out = movement.reshape(node.op(x, wide), shape=(x.shape[0], size, y.shape[1]))
        return movement.permute(out, dims=(1, 0, 2))
    return node.op(*wholes(node, mapped, size))


@rule("attention", "attention_grad")
def _attention(node: Node, mapped: list[Any], size: int) -> Any:
    """The examples join the first dimension."""
    joined = [
        movement.reshape(x, shape=(size * x.shape[1], *x.shape[2:]))
        for x in wholes(node, mapped, size)
    ]
    made = node.op(*joined, **node.attrs)
    return tuple(
        movement.reshape(source.item(made, k), shape=(size, *shape))
        for k, shape in enumerate(node.shape)
    )


# --- convolutions: the batch joins the images, or the groups


def _images(x: Node) -> Node:
    return movement.reshape(x, shape=(x.shape[0] * x.shape[1], *x.shape[2:]))


def _channels(x: Node) -> Node:
    """(B, N, C, ...) as (N, B * C, ...)."""
    dims = (1, 0, *range(2, x.ndim))
    shape = (x.shape[1], x.shape[0] * x.shape[2], *x.shape[3:])
    return movement.reshape(movement.permute(x, dims=dims), shape=shape)


def _unchannels(x: Node, size: int) -> Node:
    """(N, B * C, ...) as (B, N, C, ...)."""
    n, c, *rest = x.shape
    split = movement.reshape(x, shape=(n, size, c // size, *rest))
    return movement.permute(split, dims=(1, 0, *range(2, split.ndim)))


@rule("convolution", "convolution_input_grad")
def _convolution(node: Node, mapped: list[Any], size: int) -> Any:
    x, w = mapped
    attrs = dict(node.attrs)
    if w is None:
        if "x_shape" in attrs:
            n, *rest = attrs["x_shape"]
            attrs["x_shape"] = (size * n, *rest)
        out = node.op(_images(x), node.srcs[1], **attrs)
        return movement.reshape(out, shape=(size, *node.shape))
    x = whole(x, node.srcs[0], size)
    if "x_shape" in attrs:
        n, c, *rest = attrs["x_shape"]
        attrs["x_shape"] = (n, size * c, *rest)
    attrs["groups"] *= size
    return _unchannels(node.op(_channels(x), _images(w), **attrs), size)


@rule("convolution_weight_grad")
def _weight_gradient(node: Node, mapped: list[Any], size: int) -> Any:
    g, x = wholes(node, mapped, size)
    attrs = dict(node.attrs)
    o, *rest = attrs["w_shape"]
    attrs["w_shape"], attrs["groups"] = (size * o, *rest), attrs["groups"] * size
    out = node.op(_channels(g), _channels(x), **attrs)
    return movement.reshape(out, shape=(size, *node.shape))


# --- rows


def _lifted(rows: Node, count: int, size: int) -> Node:
    """Row numbers within examples as row numbers of all examples' rows in one list."""
    zero = source.const(0, rows.shape, int64, rows.device)
    which = movement.iota(zero, dim=0)
    step = source.const(count, rows.shape, int64, rows.device)
    return elementwise.add(rows, elementwise.mul(which, step))


@rule("index_rows")
def _index_rows(node: Node, mapped: list[Any], size: int) -> Any:
    x, rows = mapped
    if x is None:
        return index.index_rows(node.srcs[0], rows)
    if rows is None:
        across = movement.permute(x, dims=(1, 0, *range(2, x.ndim)))
        out = index.index_rows(across, node.srcs[1])
        k = node.srcs[1].ndim
        return movement.permute(out, dims=(k, *range(k), *range(k + 1, out.ndim)))
    flat = movement.reshape(x, shape=(size * x.shape[1], *x.shape[2:]))
    return index.index_rows(flat, _lifted(rows, x.shape[1], size))


@rule("scatter_rows")
def _scatter_rows(node: Node, mapped: list[Any], size: int) -> Any:
    x, rows, values = wholes(node, mapped, size)
    flat = movement.reshape(x, shape=(size * x.shape[1], *x.shape[2:]))
    out = index.scatter_rows(flat, _lifted(rows, x.shape[1], size), values, **node.attrs)
    return movement.reshape(out, shape=x.shape)
