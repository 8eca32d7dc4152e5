"""Max pooling as generated loops: a maximum over windows, and its gradient without scattering.

Element i of the padded space belongs to block b and remainder r, i = b * s + r with the stride s.
Window o reaches it with its tap k = i + low - o * s, so that with o = b - m the taps are
k = m * s + r + low: every element sums over the few m for which k is a tap.
"""

from __future__ import annotations

from typing import Any

from cupola import dtypes
from cupola.ir.program import Item, Program, is_generated
from cupola.schedule.rewrite import Rewrite

Dims = tuple[int, ...]


def pool_by_maximum(program: Program) -> tuple[Program, list[int]]:
    """An element taken from where its window has its maximum is the maximum."""
    if not any(item.op.name == "pool_take" for item in program.items):
        return program, list(range(len(program.items)))
    out = Rewrite(program)
    for i, item in enumerate(program.items):
        windows = _maximised(program, item) if item.op.name == "pool_take" else None
        if windows is None:
            out.keep(i)
            continue
        source = program.items[windows]
        rank = len(item.shape)
        dims = tuple(range(rank, len(source.shape)))
        kept = (*item.shape, *(1,) * len(dims))
        most = out.add("amax", (out.place[windows],), kept, item.dtype, dims=dims)
        out.place[i] = out.reshaped(most, item.shape)
    return out.done()


def _maximised(program: Program, item: Item) -> int | None:
    """The windows of ``pool_take``'s first operand of which its second is the argmax, or None."""
    items = program.items
    x, place = item.srcs
    while items[place].op.name in ("cast", "reshape"):
        place = items[place].srcs[0]
    found = items[place]
    rank = len(item.shape)
    if found.op.name != "argmax" or item.attr("axes")[-1] != rank - 1:
        return None
    windows = found.srcs[0]
    w = items[windows]
    size = item.attr("size")
    if (
        w.op.name != "window"
        or (w.attr("size"), w.attr("stride")) != (size, item.attr("stride"))
        or set(w.attr("dilation")) != {1}
        or found.attr("dims") != tuple(range(rank, rank + len(size)))
        or w.shape[:rank] != item.shape
    ):
        return None
    source = w.srcs[0]
    low = item.attr("low")
    if items[source].op.name == "pad" and source != x:
        pairs = items[source].attr("pairs")
        if any(pair != (0, 0) for pair in pairs[: rank - len(size)]):
            return None
        if tuple(lo for lo, _ in pairs[rank - len(size) :]) != low:
            return None
        source = items[source].srcs[0]
    elif any(low):
        return None
    return windows if source == x else None


def put_in_blocks(program: Program) -> tuple[Program, list[int]]:
    """Writes ``pool_put`` as a sum over the windows that reach each element."""
    if not any(_suits(item) for item in program.items):
        return program, list(range(len(program.items)))
    out = Rewrite(program)
    for i, item in enumerate(program.items):
        if _suits(item):
            out.place[i] = _Blocks(out, item).written()
        else:
            out.keep(i)
    return out.done()


def _suits(item: Item) -> bool:
    return item.op.name == "pool_put" and is_generated(item.dtype) and 0 not in item.shape


class _Blocks:
    """One ``pool_put`` being written: loops over N, blocks and remainders, C and the windows."""

    def __init__(self, out: Rewrite, item: Item) -> None:
        self.out = out
        self.item = item
        self.axes: Dims = item.attr("axes")
        self.size: Dims = item.attr("size")
        self.stride: Dims = item.attr("stride")
        self.low: Dims = item.attr("low")
        space: Dims = item.attr("space")
        self.last = tuple((k - 1 - p) // s for k, s, p in self._each(self.size))
        first = (-((s - 1 + p) // s) for _, s, p in self._each(self.size))
        self.count = tuple(b - a + 1 for a, b in zip(first, self.last, strict=True))
        self.blocks = tuple(-(-n // s) for n, s in zip(space, self.stride, strict=True))
        # The position of each block, remainder and window loop, and the extent of every loop.
        self.block_at = [0] * len(self.axes)
        self.loops: list[int] = []
        for d, n in enumerate(item.shape):
            if d in self.axes:
                k = self.axes.index(d)
                self.block_at[k] = len(self.loops)
                self.loops += [self.blocks[k], self.stride[k]]
            else:
                self.loops.append(n)
        self.window_at = len(self.loops)
        self.loops += self.count

    def _each(self, sizes: Dims) -> Any:
        return zip(sizes, self.stride, self.low, strict=True)

    def written(self) -> int:
        out, item = self.out, self.item
        shape, dtype = tuple(self.loops), item.dtype
        values = self.spread(out.place[item.srcs[0]])
        places = self.spread(out.place[item.srcs[1]])
        if out.items[places].dtype is not dtypes.int64:
            places = out.add("cast", (places,), shape, dtypes.int64, dtype=dtypes.int64)
        here = out.add("eq", (places, self.tap()), shape, dtypes.bool)
        for valid in self.valid():
            here = out.add("logical_and", (here, valid), shape, dtypes.bool)
        zero = out.add("const", (), shape, dtype, value=0)
        chosen = out.add("where", (here, values, zero), shape, dtype)
        dims = tuple(range(self.window_at, len(shape)))
        kept = (*shape[: self.window_at], *(1,) * len(dims))
        total = out.add("sum", (chosen,), kept, dtype, dims=dims)
        whole = list(item.shape)
        for a, b, s in zip(self.axes, self.blocks, self.stride, strict=True):
            whole[a] = b * s
        total = out.reshaped(total, tuple(whole))
        if tuple(whole) == item.shape:
            return total
        zeros, ones = (0,) * len(whole), (1,) * len(whole)
        return out.add(
            "slice", (total,), item.shape, dtype, starts=zeros, stops=item.shape, steps=ones
        )

    def spread(self, x: int) -> int:
        """An array over the windows' places, seen from the loops over the elements."""
        out, axes = self.out, self.axes
        dtype, rank = out.items[x].dtype, len(self.item.shape)
        # Window j of block b is o = b - last + j.
        stops, pairs = list(out.items[x].shape), [(0, 0)] * rank
        for a, last, b, m in zip(axes, self.last, self.blocks, self.count, strict=True):
            high = b + m - 1 - last - stops[a]
            stops[a] += min(high, 0)
            pairs[a] = (last, max(high, 0))
        if tuple(stops) != out.items[x].shape:
            zeros, ones = (0,) * rank, (1,) * rank
            x = out.add(
                "slice", (x,), tuple(stops), dtype, starts=zeros, stops=tuple(stops), steps=ones
            )
        shape = tuple(n + lo + hi for n, (lo, hi) in zip(stops, pairs, strict=True))
        if shape != out.items[x].shape:
            x = out.add("pad", (x,), shape, dtype, pairs=tuple(pairs), value=0)
        rest = tuple(d for d in range(rank) if d not in axes)
        x = out.permuted(x, (*rest, *axes))
        seen = (*(self.item.shape[d] for d in rest), *self.blocks, *self.count)
        ones = (1,) * len(axes)
        x = out.add("window", (x,), seen, dtype, size=self.count, stride=ones, dilation=ones)
        order: list[int] = []
        for d in range(rank):
            order.append(len(rest) + axes.index(d) if d in axes else rest.index(d))
        x = out.permuted(x, (*order, *range(rank, rank + len(axes))))
        narrow = tuple(1 if d - 1 in self.block_at else n for d, n in enumerate(self.loops))
        x = out.reshaped(x, narrow)
        if narrow == tuple(self.loops):
            return x
        return out.add("expand", (x,), tuple(self.loops), dtype, shape=tuple(self.loops))

    # --- which tap of its window an element is

    def number(self, value: int) -> int:
        return self.out.add("const", (), tuple(self.loops), dtypes.int64, value=value)

    def loop(self, d: int) -> int:
        return self.out.add("iota", (self.number(0),), tuple(self.loops), dtypes.int64, dim=d)

    def math(self, name: str, a: int, b: int) -> int:
        dtype = dtypes.bool if name in ("ge", "lt", "logical_and") else dtypes.int64
        return self.out.add(name, (a, b), tuple(self.loops), dtype)

    def along(self, k: int) -> int:
        """The tap along the k-th spatial dimension."""
        s, p = self.stride[k], self.low[k]
        back = self.math("mul", self.loop(self.window_at + k), self.number(s))
        start = self.math("add", self.loop(self.block_at[k] + 1), self.number(s * self.last[k] + p))
        return self.math("sub", start, back)

    def tap(self) -> int:
        """The row-major number of the tap; no number of a tap where there is none."""
        total = self.along(0)
        for k in range(1, len(self.size)):
            total = self.math("mul", total, self.number(self.size[k]))
            total = self.math("add", total, self.along(k))
        return total

    def valid(self) -> list[int]:
        """Conditions that the taps of the later dimensions exist (the first one's then show)."""
        out = []
        for k in range(1, len(self.size)):
            s, p, taps = self.stride[k], self.low[k], self.size[k]
            ends = (s * (self.last[k] - self.count[k] + 1) + p, s * self.last[k] + s - 1 + p)
            if ends[0] < 0:
                out.append(self.math("ge", self.along(k), self.number(0)))
            if ends[1] >= taps:
                out.append(self.math("lt", self.along(k), self.number(taps)))
        return out
