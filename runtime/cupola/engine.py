"""Realize: record -> program -> plan -> launches. The one module that knows the whole chain.

Every observation of a value (``.numpy()``, ``.item()``, ``print``) comes here with the node that is
wanted. Its unrealized
ancestors become a program; the program's plan is looked up by structure; the plan's steps run on
the device.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from typing import Any

import numpy as np

from cupola.backends.base import Backend
from cupola.codegen import lower as lowering
from cupola.dtypes import dtype as DType
from cupola.errors import BackendError
from cupola.ir.device import device as Device
from cupola.ir.node import Node
from cupola.ir.op import pending
from cupola.ir.program import Item, Plan, Program
from cupola.ir.source import BUFFER as _BUFFER
from cupola.ir.source import CONST as _CONST
from cupola.schedule import Lowering, plan, simplify

# Recording more nodes than this without observing a value starts the work.
PENDING_LIMIT = 4000
_PLAN_LIMIT = 4096

_backends: dict[str, Backend] = {}
_plans: OrderedDict[Any, tuple[Plan, list[int]]] = OrderedDict()
_LOWERING = Lowering(lowering.lower, lowering.view)
stats = {"plans": 0, "hits": 0, "launches": 0, "calls": 0}


def backend(device_type: str) -> Backend:
    """The backend of a device type, made on first use.

    ``CUPOLA_BACKEND=reference`` runs everything on the CPU through the NumPy references instead.

    Raises:
        BackendError: this installation or machine has no such device; the text says what to
            install.
    """
    found = _backends.get(device_type)
    if found is None:
        if device_type == "cuda":
            from cupola.backends.cuda import CUDABackend

            found = CUDABackend()
        elif device_type == "cpu":
            if os.environ.get("CUPOLA_BACKEND") == "reference":
                from cupola.backends.reference import ReferenceBackend

                found = ReferenceBackend()
            else:
                from cupola.backends.cpu import CPUBackend

                found = CPUBackend()
        else:
            raise BackendError(
                f"device type {device_type!r} holds no values: nothing can be computed there"
            )
        _backends[device_type] = found
    return found


def use_backend(device_type: str, instance: Backend) -> None:
    """Replaces a backend; for tests that compare two."""
    _backends[device_type] = instance
    _plans.clear()


# --- from nodes to a program


def _walk(targets: list[Node]) -> list[Node]:
    """Unrealized ancestors and the values they read, operands first."""
    order: list[Node] = []
    seen: set[int] = set()
    stack: list[tuple[Node, bool]] = [(t, False) for t in reversed(targets)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
            continue
        key = id(node)
        if key in seen:
            continue
        seen.add(key)
        stack.append((node, True))
        if node.value is None:
            srcs = node.srcs if node.op.kind != "alias" else node.srcs[:1]
            for s in reversed(srcs):
                if id(s) not in seen:
                    stack.append((s, False))
    return order


_SPECIAL = (0, 1, -1)


def _special(value: Any) -> Any:
    """Numbers worth a kernel of their own; every other number is an argument of the kernel."""
    return (
        value if type(value) is not complex and value in _SPECIAL and str(value) != "-0.0" else None
    )


def _strides(array: Any) -> tuple[int, ...] | None:
    if array.flags.c_contiguous:
        return None
    size = array.dtype.itemsize
    return tuple(s // size for s in array.strides)


def _describe(node: Node, index: dict[int, int]) -> tuple[Any, ...]:
    op = node.op
    if node.value is not None:
        if op.multi:
            return (_BUFFER, (), (), node.shape, node.dtype)
        return (_BUFFER, (("strides", _strides(node.value)),), (), node.shape, node.dtype)
    if op is _CONST:
        return (op, (("value", _special(node.attrs["value"])),), (), node.shape, node.dtype)
    if op.kind == "alias":
        srcs: tuple[int, ...] = (index[id(node.srcs[0])],)
    else:
        srcs = tuple([index[id(s)] for s in node.srcs])
    return (op, tuple(node.attrs.items()), srcs, node.shape, node.dtype)


from cupola.ir.source import LEAF as _LEAF  # noqa: E402


def _external(order: list[Node]) -> list[bool]:
    """Which nodes somebody outside the program still refers to: tensors, or recorded operators not
    run now.
    """
    inside: dict[int, int] = {}
    for node in order:
        if node.value is None:
            for s in node.srcs:
                inside[id(s)] = inside.get(id(s), 0) + 1
    node = s = None  # type: ignore[assignment]
    # One reference from ``order``, one from the loop variable, one from getrefcount's argument.
    return [sys.getrefcount(n) - 3 - inside.get(id(n), 0) - n.taped > 0 for n in order]


def realize(targets: list[Node]) -> None:
    """Computes the values of nodes (and of every ancestor that is still referred to)."""
    todo = [t for t in targets if t.value is None]
    if not todo:
        return
    pending.done = pending.count
    for device in {t.device for t in todo}:
        _realize_on(device, [t for t in todo if t.device is device])


def _realize_on(device: Device, targets: list[Node]) -> None:
    _bring_from_other_devices(device, targets)
    targets = [t for t in targets if t.value is None]
    if not targets:
        return
    chosen = {id(t) for t in targets}
    order = _walk(targets)
    external = _external(order)
    index = {id(n): i for i, n in enumerate(order)}
    described = tuple([_describe(n, index) for n in order])
    wanted = frozenset(
        i
        for i, n in enumerate(order)
        if n.value is None
        and n.op is not _CONST
        and (id(n) in chosen or external[i])
        or n.op is _CONST
        and id(n) in chosen
    )
    key = (device.type, described, wanted)
    found = _plans.get(key)
    engine = backend(device.type)
    if found is None:
        stats["plans"] += 1
        program = Program([Item(*d) for d in described], wanted, device.type)
        short, place = simplify(program)
        made = plan(short, _LOWERING) if engine.generates else _interpreted(short)
        found = _plans[key] = (made, place)
        if len(_plans) > _PLAN_LIMIT:
            _plans.popitem(last=False)
    else:
        stats["hits"] += 1
        _plans.move_to_end(key)
    made, place = found
    values: list[Any] = [None] * len(made.program.items)
    numbers: dict[int, Any] = {}
    for i, node in enumerate(order):
        p = place[i]
        if p >= 0:
            if node.value is not None:
                values[p] = node.value
            elif node.op is _CONST:
                numbers[p] = node.attrs["value"]
    run(made, values, numbers, engine, device)
    for i in wanted:
        order[i].value = values[place[i]]
    for node in order:
        if node.value is not None:
            if not node.requires_grad or node.freed or node.op is _LEAF:
                # No gradient flows through a leaf: keeping its source would keep every earlier step
                # of training.
                node.srcs = ()
            elif node.srcs:
                for s in node.srcs:
                    if s.value is None:
                        s.taped += 1


def _bring_from_other_devices(device: Device, targets: list[Node]) -> None:
    """Runs what transfers from other devices read, then the transfers themselves."""
    for node in _walk(targets):
        if node.value is None and node.op.name == "transfer" and node.device is device:
            src = node.srcs[0]
            if src.device is not device:
                realize([src])
                host = backend(src.device.type).to_numpy(src.value)
                node.value = backend(device.type).from_numpy(host, device.index or 0)
                if not node.requires_grad:
                    node.srcs = ()


# --- running a plan


class _Like:
    """Shape, dtype and attributes of the result that a library call has to produce."""

    __slots__ = ("dtype", "shape")

    def __init__(self, item: Item) -> None:
        self.shape = item.shape
        self.dtype = item.dtype


def run(
    made: Plan, values: list[Any], numbers: dict[int, Any], engine: Backend, device: Device
) -> None:
    """Runs a plan's steps over ``values`` (one array an item)."""
    items = made.program.items
    number = device.index or 0
    for k, step in enumerate(made.steps):
        kind = step[0]
        if kind == "kernel":
            low = step[1]
            arrays = [values[i] for i in low.inputs]
            for i in low.outputs:
                values[i] = array = engine.empty(items[i].shape, items[i].dtype, number)
                arrays.append(array)
            if array.size:
                stats["launches"] += 1
                launch = made.launches.get(k)
                if launch is None:
                    launch = made.launches[k] = engine.compile(low.kernel)
                launch(arrays, low.meta, [numbers[i] for i in low.scalars])
        elif kind == "kernels":
            stats["launches"] += 1
            work = []
            for low in step[1]:
                arrays = [values[i] for i in low.inputs]
                for i in low.outputs:
                    values[i] = array = engine.empty(items[i].shape, items[i].dtype, number)
                    arrays.append(array)
                work.append((arrays, low.meta, [numbers[i] for i in low.scalars]))
            launch = made.launches.get(k)
            if launch is None:
                launch = made.launches[k] = engine.compile_many(step[1][0].kernel)
            launch(work)
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
            array[...] = numbers[step[1]] if special is None else special
            values[step[1]] = array
        else:
            values[step[1]] = _call(engine, items, step[1], values)


def _strided(engine: Backend, base: Any, item: Item, view: Any) -> Any:
    size = base.dtype.itemsize
    if base.size == 0 or 0 in item.shape:
        return engine.empty(item.shape, item.dtype)
    view_of = engine.xp.lib.stride_tricks.as_strided
    # The base may have any strides itself, so the offset is counted from its first element in
    # memory.
    start = view_of(base, (view.offset + 1,), (size,))[view.offset :]
    return view_of(start, item.shape, tuple(s * size for s in view.strides))


def _call(engine: Backend, items: list[Item], i: int, values: list[Any]) -> Any:
    item = items[i]
    if item.op.name == "item":
        return values[item.srcs[0]][item.attr("index")]
    stats["calls"] += 1
    out = engine.call(item.op, [values[s] for s in item.srcs], dict(item.attrs), _Like(item))
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


def _interpreted(program: Program) -> Plan:
    """A plan that runs every item by its reference: for backends that generate no kernels."""
    out = Plan(program)
    for i, item in enumerate(program.items):
        if item.op.name == "const":
            out.steps.append(("fill", i))
        elif item.op.name != "buffer":
            out.steps.append(("call", i))
    return out


def eager() -> bool:
    """Whether every operator runs when it is recorded (``CUPOLA_EAGER=1``), for debugging."""
    return _EAGER


_EAGER = os.environ.get("CUPOLA_EAGER", "0") not in ("", "0")


def array_of(node: Node) -> Any:
    """The value of a node as an array of its device, computed now if need be."""
    if node.value is None:
        realize([node])
    return node.value


def to_numpy(node: Node) -> Any:
    """The value of a node as a NumPy array, waiting for the device."""
    if node.device.type == "meta":
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")
    array = array_of(node)
    return backend(node.device.type).to_numpy(array)


def from_numpy(array: np.ndarray[Any, Any], device: Device) -> Any:
    """A NumPy array on a device."""
    return backend(device.type).from_numpy(array, device.index or 0)


__all__ = [
    "PENDING_LIMIT",
    "array_of",
    "backend",
    "eager",
    "from_numpy",
    "realize",
    "stats",
    "to_numpy",
    "use_backend",
]
