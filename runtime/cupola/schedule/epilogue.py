"""Library calls take over the pointwise work that follows them: scale, bias, residual, activation.

A normalisation with fixed statistics behind a convolution is a scale and a bias a channel: the
scale goes into the weight. An item is taken over only if nothing else reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cupola.dtypes import dtype as DType
from cupola.dtypes import float32
from cupola.ir.program import Item, Program
from cupola.schedule.rewrite import Rewrite, vector_along


@dataclass
class Epilogue:
    """What one library call takes over.

    Attributes:
        root, end: the call, and the last item taken over.
        vectors: ("mul" | "add" | "sub", item) in program order; items hold one number a channel.
        residual: an item with the end's elements in order, added after the vectors, or None.
        activation: applied last, or None.
    """

    root: int
    end: int
    vectors: list[tuple[str, int]] = field(default_factory=list)
    residual: int | None = None
    activation: str | None = None


def _is_zero(item: Item) -> bool:
    return item.op.name == "const" and item.attr("value") == 0 and item.attr("value") is not None


def relu_of(program: Program, readers: list[list[int]], x: int) -> int | None:
    """The item that is max(x, 0), written ``where(x <= 0, 0, x)``, if ``x`` is read by it alone."""
    items = program.items
    if len(readers[x]) != 2:
        return None
    for test, select in (readers[x], reversed(readers[x])):
        t, s = items[test], items[select]
        if (
            t.op.name == "le"
            and t.srcs[0] == x
            and _is_zero(items[t.srcs[1]])
            and s.op.name == "where"
            and s.srcs[0] == test
            and s.srcs[2] == x
            and _is_zero(items[s.srcs[1]])
            and readers[test] == [select]
            and test not in program.wanted
        ):
            return select
    return None


def _epilogue(
    program: Program,
    readers: list[list[int]],
    root: int,
    axis: int,
    taken: set[int],
    half: bool,
) -> Epilogue:
    items = program.items
    found = Epilogue(root, root)
    kind, product = items[root].dtype, items[root].op.name == "matmul"
    wide = half or kind.itemsize >= 4
    scales = items[root].op.name == "convolution" and wide
    narrow = scales and kind.itemsize < 4
    before = root, 0  # the end and the number of vectors in front of a cast to float32
    while found.end not in program.wanted:
        at = found.end
        active = relu_of(program, readers, at) if items[at].dtype is kind else None
        if active is not None:
            found.activation, found.end = "relu", active
            break
        if len(readers[at]) != 1 or readers[at][0] in taken:
            break
        item = items[readers[at][0]]
        if product and item.op.name == "reshape" and item.shape[-1:] == items[at].shape[-1:]:
            found.end, axis = readers[at][0], len(item.shape) - 1
            continue
        if narrow and item.op.name == "cast" and {item.dtype, items[at].dtype} == {kind, float32}:
            if items[at].dtype is kind:
                before = at, len(found.vectors)
            found.end = readers[at][0]
            continue
        if item.op.name not in ("add", "sub", "mul") or item.dtype is not items[at].dtype:
            break
        left = item.srcs[0] == at
        other = item.srcs[1 if left else 0]
        if item.op.name == "sub" and not left:
            break
        vector = None if items[other].op.name == "const" else vector_along(items, other, axis)
        if found.residual is None and vector is not None and (scales or item.op.name != "mul"):
            found.vectors.append((item.op.name, vector))
        elif (
            found.residual is None
            and item.op.name == "add"
            and item.dtype is kind
            and (program.device_type == "cuda" or not product)
            and _is_whole(items, other)
        ):
            found.residual = other
        else:
            break
        found.end = readers[at][0]
        taken.add(found.end)
    if items[found.end].dtype is not kind:  # not rounded back: the library's result is needed
        found.end, found.vectors = before[0], found.vectors[: before[1]]
    while items[found.end].op.name == "reshape":
        (found.end,) = items[found.end].srcs
    return found


def _is_whole(items: list[Item], i: int) -> bool:
    """Whether an item has elements of its own, rather than a number or a few of them repeated."""
    while items[i].op.name in ("reshape", "permute"):
        (i,) = items[i].srcs
    return items[i].op.name not in ("const", "expand")


def fuse_epilogues(program: Program, half: bool = False) -> tuple[Program, list[int]]:
    """Convolutions and products with what follows them; returns the new place of each item.

    Args:
        half: whether scales are folded into weights of 16 bits too, which rounds them once more.
    """
    readers = program.consumers()
    taken: set[int] = set()
    ends: dict[int, Epilogue] = {}
    for i, item in enumerate(program.items):
        if item.op.name not in ("convolution", "matmul") or not item.dtype.is_floating_point:
            continue
        axis = 1 if item.op.name == "convolution" else len(item.shape) - 1
        found = _epilogue(program, readers, i, axis, taken, half)
        if found.end != i:
            if item.op.name == "matmul" and not found.vectors and found.residual is None:
                continue  # a product's epilogue starts with a bias or a residual
            ends[found.end] = found
    if not ends:
        return program, list(range(len(program.items)))
    out = Rewrite(program)
    for i in range(len(program.items)):
        found_here = ends.get(i)
        if found_here is None:
            out.keep(i)
        elif program.items[found_here.root].op.name == "matmul":
            out.place[i] = _product(out, found_here)
        else:
            out.place[i] = _convolution(out, found_here)
    return out.done()


def _bias(
    out: Rewrite, vectors: list[tuple[str, int]], size: int, kind: DType
) -> tuple[int | None, int | None]:
    """(product of the scales, sum of the scaled biases) as vectors of the new program, or None;
    computed in the widest of the vectors' types, given in ``kind``.
    """

    def cast(v: int, to: DType) -> int:
        return v if out.items[v].dtype is to else out.add("cast", (v,), (size,), to, dtype=to)

    scale: int | None = None
    bias: int | None = None
    kinds = [out.items[out.place[old]].dtype for _, old in vectors]
    dtype = max(kinds, key=lambda k: k.itemsize, default=kind)
    for name, old in vectors:
        v = cast(out.reshaped(out.place[old], (size,)), dtype)
        if name == "mul":
            scale = v if scale is None else out.add("mul", (scale, v), (size,), dtype)
            bias = None if bias is None else out.add("mul", (bias, v), (size,), dtype)
        elif bias is not None:
            bias = out.add(name, (bias, v), (size,), dtype)
        elif name == "add":
            bias = v
        else:
            bias = out.add("neg", (v,), (size,), dtype)
    return (
        None if scale is None else cast(scale, kind),
        None if bias is None else cast(bias, kind),
    )


def _convolution(out: Rewrite, e: Epilogue) -> int:
    item = out.old.items[e.root]
    x, w = (out.place[s] for s in item.srcs)
    scale, bias = _bias(out, e.vectors, item.shape[1], item.dtype)
    if scale is not None:
        shape = out.items[w].shape
        column = out.reshaped(scale, (shape[0],) + (1,) * (len(shape) - 1))
        wide = out.add("expand", (column,), shape, item.dtype, shape=shape)
        w = out.add("mul", (w, wide), shape, item.dtype)
    return _fused(out, "convolution_fused", e, [x, w], bias, **dict(item.attrs), last=False)


def _product(out: Rewrite, e: Epilogue) -> int:
    item = out.old.items[e.root]
    _, bias = _bias(out, e.vectors, item.shape[-1], item.dtype)
    made = _fused(out, "matmul_fused", e, [out.place[s] for s in item.srcs], bias)
    return out.reshaped(made, out.old.items[e.end].shape)


def _fused(
    out: Rewrite, name: str, e: Epilogue, srcs: list[int], bias: int | None, **attrs: Any
) -> int:
    """The call that does what its epilogue did."""
    item = out.old.items[e.root]
    if bias is not None:
        srcs.append(bias)
    if e.residual is not None:
        srcs.append(out.reshaped(out.place[e.residual], item.shape))
    return out.add(
        name,
        tuple(srcs),
        item.shape,
        item.dtype,
        bias=bias is not None,
        residual=e.residual is not None,
        activation=e.activation,
        **attrs,
    )
