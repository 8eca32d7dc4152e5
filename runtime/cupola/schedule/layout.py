"""Channels-last: convolutions read and write images with the channels innermost.

Libraries have their fastest kernels for that layout. Every convolution gets its operands permuted;
what lies between two convolutions is computed in the permuted order too, so that the permutations
cancel. Shapes of the values that somebody observes stay what they are: they are permuted back,
which is an index map and costs nothing.
"""

from __future__ import annotations

from math import prod
from typing import Any

from cupola.ir.program import Item, Program
from cupola.schedule.rewrite import Rewrite

Dims = tuple[int, ...]

# Channels are padded to a multiple of this many bytes where the GPU's tensor cores ask for it.
_TENSOR_CORE_BYTES = 16
# Strided convolutions of fewer channels have slow kernels there.
_FEW_CHANNELS = 8
# Fewer channels in a group than this (but not one) have no channels-last kernel in oneDNN.
_LEAST_IN_GROUP = 8

_CONVOLUTIONS = (
    "convolution",
    "convolution_fused",
    "convolution_input_grad",
    "convolution_weight_grad",
)


def _last(rank: int) -> Dims:
    """Dimension 1 goes to the end."""
    return (0, *range(2, rank), 1)


def _suits(program: Program, item: Item) -> bool:
    if item.op.name not in _CONVOLUTIONS or not item.dtype.is_floating_point:
        return False
    if len(item.shape) < 4:
        return False
    groups = item.attr("groups")
    if groups == 1:
        return True
    weight = item.shape
    if item.op.name != "convolution_weight_grad":
        weight = program.items[item.srcs[1]].shape
    inside, outside = weight[1], weight[0] // groups
    wide = inside >= _LEAST_IN_GROUP and outside >= _LEAST_IN_GROUP
    return bool(wide or inside == outside == 1)


class _Layout:
    """The pass over one program.

    Attributes:
        order: for an old item, the permutation in which its value has been computed, if not None.
        form: the new item that holds the permuted value.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.out = Rewrite(program)
        self.order: list[Dims | None] = [None] * len(program.items)
        self.form = [-1] * len(program.items)
        self.made: dict[tuple[int, Dims], int] = {}
        self.copies: dict[int, int] = {}

    def run(self) -> tuple[Program, list[int]]:
        for i, item in enumerate(self.program.items):
            if _suits(self.program, item):
                self.convolve(i, item)
                continue
            order = self.order_of(item)
            if item.op.name == "permute" and i not in self.program.wanted:
                (s,) = item.srcs
                self.out.place[i] = self.out.permuted(self.out.place[s], item.attr("dims"))
            elif order is None:
                self.out.keep(i)
            else:
                self.permute(i, item, order)
        return self.out.done()

    def set(self, i: int, form: int, order: Dims) -> None:
        """``form`` holds old item ``i`` permuted by ``order``."""
        self.form[i] = form
        self.order[i] = order
        back = [0] * len(order)
        for k, d in enumerate(order):
            back[d] = k
        self.out.place[i] = self.out.permuted(form, tuple(back))
        self.made[i, order] = form

    def wanted_as(self, i: int, order: Dims) -> int:
        """New item that holds old item ``i`` permuted by ``order``."""
        found = self.made.get((i, order))
        if found is None:
            found = self.made[i, order] = self.out.permuted(self.out.place[i], order)
        return found

    def order_of(self, item: Item) -> Dims | None:
        """In which order an item is computed: that of its operands, if the operator allows."""
        kind, name = item.op.kind, item.op.name
        if kind == "elementwise" and name != "iota":
            for s in item.srcs:
                if self.order[s] is not None:
                    return self.order[s]
            return None
        if kind not in ("movement", "reduce") and name not in ("cat", "pool_put"):
            return None
        order = self.order[item.srcs[0]] if item.srcs else None
        if order is None:
            return None
        if kind == "reduce":
            return None if name in ("argmax", "argmin") and len(item.attr("dims")) > 2 else order
        if name in ("pad", "slice", "cat", "pool_put"):
            return order
        if name == "window":
            rank = len(order)
            if order != _last(rank) or len(item.attr("size")) != rank - 2:
                return None
            return (*order, *range(rank, len(item.shape)))
        if name == "reshape":
            old = self.program.items[item.srcs[0]].shape
            if _is_sequence(old, item.shape, order):
                return _last(3)
            return _without_ones(old, item.shape, order)
        return None

    def permute(self, i: int, item: Item, order: Dims) -> None:
        """Computes old item ``i`` with its dimensions in ``order``."""
        name, kind = item.op.name, item.op.kind
        shape = tuple(item.shape[d] for d in order)
        attrs = dict(item.attrs)
        if name == "reshape" and order == _last(3):
            (s,) = item.srcs
            whole = self.order[s]
            assert whole is not None
            self.set(i, self.out.reshaped(self.wanted_as(s, whole), shape), order)
            return
        if name in ("window", "reshape"):
            # Index maps: written as they are, and permuted.
            self.out.keep(i)
            form = self.out.permuted(self.out.place[i], order)
            self.form[i], self.order[i] = form, order
            self.made[i, order] = form
            return
        srcs = tuple(self.wanted_as(s, order) for s in item.srcs)
        if kind == "reduce":
            where = {d: k for k, d in enumerate(order)}
            dims = tuple(sorted(where[d] for d in item.attr("dims")))
            if name in ("argmax", "argmin"):
                dims = tuple(where[d] for d in item.attr("dims"))
                if dims != tuple(sorted(dims)):  # the index counts in the dimensions' own order
                    self.out.keep(i)
                    return
            attrs["dims"] = dims
        elif name == "pad":
            attrs["pairs"] = tuple(attrs["pairs"][d] for d in order)
        elif name == "slice":
            for key in ("starts", "stops", "steps"):
                attrs[key] = tuple(attrs[key][d] for d in order)
        elif name == "cat":
            attrs["dim"] = order.index(attrs["dim"])
        elif name == "pool_put":
            attrs["axes"] = tuple(order.index(d) for d in attrs["axes"])
        self.set(i, self.out.add(name, srcs, shape, item.dtype, **attrs), order)

    # --- convolutions

    def convolve(self, i: int, item: Item) -> None:
        order = _last(len(item.shape))
        attrs: dict[str, Any] = dict(item.attrs)
        shape = tuple(item.shape[d] for d in order)
        name = item.op.name
        a = self.wanted_as(item.srcs[0], order)
        if name == "convolution_weight_grad":
            # The result lies as the weight does: an optimizer reads both side by side.
            b = self.wanted_as(item.srcs[1], order)
            self.out.place[i] = self.out.add(
                f"{name}_last", (a, b), item.shape, item.dtype, **attrs
            )
            return
        b = self.weight(item.srcs[1], order)
        if name in ("convolution", "convolution_fused"):
            if self.program.device_type == "cuda" and attrs["groups"] == 1:
                if self.packs(a, b, attrs):
                    a, b = self.packed(a, b, shape[1:-1], attrs)
                a, b = self.padded(a, b)
            extra = [self.out.place[s] for s in item.srcs[2:]]
            if attrs.get("residual"):
                extra[-1] = self.wanted_as(item.srcs[-1], order)
            attrs = {"bias": False, "residual": False, "activation": None, **attrs, "last": True}
            form = self.out.add("convolution_fused", (a, b, *extra), shape, item.dtype, **attrs)
        else:
            attrs["x_shape"] = shape
            form = self.out.add(f"{name}_last", (a, b), shape, item.dtype, **attrs)
        self.set(i, form, order)

    def weight(self, i: int, order: Dims) -> int:
        """A weight in memory of its own on a GPU; the CPU's library packs it in its own way."""
        found = self.wanted_as(i, order)
        if self.program.device_type != "cuda" or self.out.items[found].op.kind != "movement":
            return found
        again = self.copies.get(found)
        if again is None:
            item = self.out.items[found]
            again = self.copies[found] = self.out.add("copy", (found,), item.shape, item.dtype)
        return again

    def packs(self, x: int, w: int, attrs: dict[str, Any]) -> bool:
        """Whether a strided convolution of a few channels becomes a dense one of many: if the
        strides are small, or if the windows are patches side by side.
        """
        steps = attrs["stride"]
        small = 1 < max(steps) <= _FEW_CHANNELS // 2
        return (
            self.out.items[x].shape[-1] < _FEW_CHANNELS
            and (small or steps == self.out.items[w].shape[1:-1])
            and set(attrs["dilation"]) == {1}
        )

    def packed(self, x: int, w: int, space: Dims, attrs: dict[str, Any]) -> tuple[int, int]:
        """Blocks of ``stride`` pixels in each direction become channels, and the stride 1.

        Tap k of the kernel reads pixel o * s + k: with k = b * s + r, the r-th of block o + b.
        """
        rank, steps = len(space), attrs["stride"]
        taps = tuple(-(-k // s) for k, s in zip(self.out.items[w].shape[1:-1], steps, strict=True))
        blocks = tuple(o + t - 1 for o, t in zip(space, taps, strict=True))
        low = tuple(lo for lo, _ in attrs["padding"])
        attrs |= {"stride": (1,) * rank, "padding": ((0, 0),) * rank}
        return self.blocked(x, blocks, steps, low), self.blocked(w, taps, steps, (0,) * rank)

    def blocked(self, x: int, blocks: Dims, sizes: Dims, low: Dims) -> int:
        """(N, *space, C) with ``low`` zeros in front, in blocks: (N, *blocks, prod(sizes) C)."""
        out, rank = self.out, len(blocks)
        item = out.items[x]
        n, *space, channels = item.shape
        whole = tuple(b * s for b, s in zip(blocks, sizes, strict=True))
        spare = [b - lo - m for b, lo, m in zip(whole, low, space, strict=True)]
        if min(spare) < 0:  # pixels that no window reaches
            stops = (n, *(m + min(e, 0) for m, e in zip(space, spare, strict=True)), channels)
            starts, steps = (0,) * (rank + 2), (1,) * (rank + 2)
            x = out.add("slice", (x,), stops, item.dtype, starts=starts, stops=stops, steps=steps)
        pairs = ((0, 0), *((lo, max(e, 0)) for lo, e in zip(low, spare, strict=True)), (0, 0))
        if any(pair != (0, 0) for pair in pairs):
            shape = (n, *whole, channels)
            x = out.add("pad", (x,), shape, item.dtype, pairs=pairs, value=0)
        cut = tuple(d for pair in zip(blocks, sizes, strict=True) for d in pair)
        x = out.reshaped(x, (n, *cut, channels))
        dims = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1)
        return out.reshaped(out.permuted(x, dims), (n, *blocks, prod(sizes) * channels))

    def padded(self, x: int, w: int) -> tuple[int, int]:
        """Operands with zeros appended to the channels so that tensor cores fit."""
        items = self.out.items
        channels = items[x].shape[-1]
        unit = _TENSOR_CORE_BYTES // items[x].dtype.itemsize
        if channels % unit == 0:
            return x, w
        extra = -channels % unit
        grown = []
        for y in (x, w):
            shape = items[y].shape
            pairs = ((0, 0),) * (len(shape) - 1) + ((0, extra),)
            wide = (*shape[:-1], channels + extra)
            grown.append(self.out.add("pad", (y,), wide, items[y].dtype, pairs=pairs, value=0))
        return grown[0], grown[1]


def _is_sequence(old: Dims, new: Dims, order: Dims) -> bool:
    """Whether channels-last images (N, C, *space) are reshaped to (N, C, points)."""
    return order == _last(len(old)) and len(new) == 3 < len(old) and old[:2] == new[:2]


def _without_ones(old: Dims, new: Dims, order: Dims) -> Dims | None:
    """The order that remains when dimensions of size 1 are dropped or added at the end."""
    kept = [d for d, n in enumerate(old) if n != 1]
    there = [d for d, n in enumerate(new) if n != 1]
    if [old[d] for d in kept] != [new[d] for d in there] or len(new) < 4:
        return None
    place = dict(zip(kept, there, strict=True))
    out = [place[d] for d in order if d in place]
    out += [d for d, n in enumerate(new) if n == 1]
    return None if out == sorted(out) else tuple(out)


def channels_last(program: Program) -> tuple[Program, list[int]]:
    """Puts every image convolution into channels-last; returns the new place of each item."""
    if not any(_suits(program, item) for item in program.items):
        return program, list(range(len(program.items)))
    return _Layout(program).run()
