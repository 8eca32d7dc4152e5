"""Running a plan: its steps in order, over one array an item."""

from __future__ import annotations

from typing import Any, Protocol

from cupola.backends.base import Backend
from cupola.dtypes import dtype as DType
from cupola.ir.device import device as Device
from cupola.ir.program import Item, Plan

stats = {"plans": 0, "hits": 0, "launches": 0, "calls": 0, "graphs": 0}


class Watch(Protocol):
    """Somebody who has to know how numbers come into launches.

    Attributes:
        fixed: items whose numbers were written into memory, without a launch that takes them.
    """

    fixed: set[int]

    def begin(self) -> None:
        """A kernel is about to be launched."""

    def end(self, launch: Any, work: list[Any], many: bool) -> None:
        """It has been launched; ``work`` lists (arrays, meta, items of the numbers)."""


class _Like:
    """Shape, dtype and attributes of the result that a library call has to produce."""

    __slots__ = ("dtype", "shape")

    def __init__(self, item: Item) -> None:
        self.shape = item.shape
        self.dtype = item.dtype


def run(
    made: Plan,
    values: list[Any],
    numbers: dict[int, Any],
    engine: Backend,
    device: Device,
    packed: dict[int, Any] | None = None,
    given: dict[int, Any] | None = None,
    watch: Watch | None = None,
) -> None:
    """Runs a plan's steps over ``values`` (one array an item).

    Args:
        numbers: the constants that a plan does not hold, by item.
        packed: for a library call's item, a key that stands for its weight's contents.
        given: arrays that kernels write these items to, instead of fresh ones.
        watch: is told of launches and of the numbers that they take.
    """
    keys = packed or {}
    placed = given or {}
    items = made.program.items
    number = device.index or 0
    for k, step in enumerate(made.steps):
        kind = step[0]
        if kind == "kernel":
            low = step[1]
            arrays = [values[i] for i in low.inputs]
            for i in low.outputs:
                array = placed.get(i)
                if array is None:
                    array = engine.empty(items[i].shape, items[i].dtype, number)
                values[i] = array
                arrays.append(array)
            if array.size:
                stats["launches"] += 1
                launch = made.launches.get(k)
                if launch is None:
                    launch = made.launches[k] = engine.compile(low.kernel)
                if watch is not None:
                    watch.begin()
                launch(arrays, low.meta, [numbers[i] for i in low.scalars])
                if watch is not None:
                    watch.end(launch, [(arrays, low.meta, low.scalars)], False)
        elif kind == "kernels":
            stats["launches"] += 1
            work = []
            for low in step[1]:
                arrays = [values[i] for i in low.inputs]
                for i in low.outputs:
                    array = placed.get(i)
                    if array is None:
                        array = engine.empty(items[i].shape, items[i].dtype, number)
                    values[i] = array
                    arrays.append(array)
                work.append((arrays, low.meta, [numbers[i] for i in low.scalars]))
            launch = made.launches.get(k)
            if launch is None:
                launch = made.launches[k] = engine.compile_many(step[1][0].kernel)
            if watch is not None:
                watch.begin()
            launch(work)
            if watch is not None:
                lows = step[1]
                watch.end(launch, [(w[0], w[1], x.scalars) for w, x in zip(work, lows)], True)
        elif kind == "free":
            for i in step[1]:
                values[i] = None
        elif kind == "view":
            values[step[1]] = _strided(engine, values[step[2].base], items[step[1]], step[2])
        elif kind == "contiguous":
            values[step[1]] = engine.xp.ascontiguousarray(values[step[1]])
        elif kind == "fill":
            item = items[step[1]]
            array = engine.empty(item.shape, item.dtype, number)
            special = item.attr("value")
            if special is None and watch is not None:
                watch.fixed.add(step[1])
            array[...] = numbers[step[1]] if special is None else special
            values[step[1]] = array
        else:
            values[step[1]] = _call(engine, items, step[1], values, keys)


def _strided(engine: Backend, base: Any, item: Item, view: Any) -> Any:
    size = base.dtype.itemsize
    if base.size == 0 or 0 in item.shape:
        return engine.empty(item.shape, item.dtype)
    strides = tuple([s * size for s in view.strides])
    return engine.strided(base, item.shape, strides, view.offset * size)


def _call(
    engine: Backend, items: list[Item], i: int, values: list[Any], keys: dict[int, Any]
) -> Any:
    item = items[i]
    if item.op.name == "item":
        return values[item.srcs[0]][item.attr("index")]
    stats["calls"] += 1
    attrs = dict(item.attrs)
    if i in keys:
        attrs["weight_key"] = keys[i]
    out = engine.call(item.op, [values[s] for s in item.srcs], attrs, _Like(item))
    if item.op.multi:
        return tuple(
            _settled(engine, o, s, d) for o, s, d in zip(out, item.shape, item.dtype, strict=True)
        )
    return _settled(engine, out, item.shape, item.dtype)


def _settled(engine: Backend, array: Any, shape: tuple[int, ...], dtype: DType) -> Any:
    """A library's result as an array of the declared type, C-contiguous: later kernels rely on
    both.
    """
    xp = engine.xp
    if not hasattr(array, "flags"):
        array = xp.asarray(array)
    if array.dtype != dtype.np:
        array = array.astype(dtype.np)
    if array.shape != shape:
        raise AssertionError(f"a library call returned shape {array.shape}, declared {shape}")
    return array if array.flags.c_contiguous else xp.ascontiguousarray(array)
