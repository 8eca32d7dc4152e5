"""Realize: record -> program -> plan -> launches.

Every observation of a value (``.numpy()``, ``.item()``, ``print``) comes here with the node that is
wanted. Its unrealized ancestors become a program; the program's plan is looked up by structure; the
plan's steps run on the device.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from typing import Any

import numpy as np

from cupola.engine import devices
from cupola.engine.compiled import Compiled
from cupola.engine.devices import backend
from cupola.engine.run import stats
from cupola.ir.device import device as Device
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.number import Dynamic
from cupola.ir.op import pending
from cupola.ir.program import Item, Program
from cupola.ir.source import BUFFER as _BUFFER
from cupola.ir.source import CONST as _CONST
from cupola.ir.source import LEAF as _LEAF

# Recording more nodes than this without observing a value starts the work.
PENDING_LIMIT = 4000
_PLAN_LIMIT = 4096

_plans: OrderedDict[Any, Compiled] = OrderedDict()


def use_backend(device_type: str, instance: Any) -> None:
    """Replaces a backend; for tests that compare two."""
    devices.use_backend(device_type, instance)
    _plans.clear()


# --- from nodes to a program


def walk(targets: list[Node]) -> list[Node]:
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


# Larger slices are left to the kernels that read them.
_PICKED = 16 << 20


def _picked(order: list[Node]) -> bool:
    """Gives slices of whole rows of arrays at hand their values: copies of the rows.

    Where a slice begins is part of a program's structure. A loader takes other rows for each batch,
    and every step of training would be planned anew. True if there were any.
    """
    found = False
    for node in order:
        if node.value is None and node.op.name == "slice" and not node.requires_grad:
            base = node.srcs[0].value
            if base is None or not base.flags.c_contiguous or 0 in node.shape:
                continue
            starts, stops, steps = (node.attrs[k] for k in ("starts", "stops", "steps"))
            rows = base[tuple(map(slice, starts, stops, steps))]
            if rows.flags.c_contiguous and rows.nbytes <= _PICKED:
                node.value, node.srcs, found = rows.copy(), (), True
    return found


_SPECIAL = (0, 1, -1)


def _special(value: Any) -> Any:
    """Numbers worth a kernel of their own; every other number is an argument of the kernel."""
    if type(value) is complex or type(value) is Dynamic:
        return None
    return value if value in _SPECIAL and str(value) != "-0.0" else None


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


def described(order: list[Node]) -> tuple[Any, ...]:
    """A program's items without values, in the order of its nodes."""
    index = {id(n): i for i, n in enumerate(order)}
    return tuple([_describe(n, index) for n in order])


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


def start(nodes: list[Node]) -> None:
    """A good moment to compute these nodes, which nobody has observed yet."""
    if not mode.held:
        realize(nodes)


def _realize_on(device: Device, targets: list[Node]) -> None:
    order = walk(targets)
    if any(n.op.name == "transfer" and n.value is None for n in order):
        _bring_from_other_devices(order, device)
        targets = [t for t in targets if t.value is None]
        if not targets:
            return
        order = walk(targets)
    if not mode.held and _picked(order):
        targets = [t for t in targets if t.value is None]
        if not targets:
            return
        order = walk(targets)
    chosen = {id(t) for t in targets}
    external = _external(order)
    wanted = frozenset(
        i
        for i, n in enumerate(order)
        if n.value is None
        and n.op is not _CONST
        and (id(n) in chosen or external[i])
        or n.op is _CONST
        and id(n) in chosen
    )
    items = described(order)
    key = (device.type, items, wanted)
    found = _plans.get(key)
    engine = backend(device.type)
    if found is None:
        stats["plans"] += 1
        program = Program([Item(*d) for d in items], wanted, device.type)
        found = _plans[key] = Compiled(program, engine)
        if len(_plans) > _PLAN_LIMIT:
            _plans.popitem(last=False)
    else:
        stats["hits"] += 1
        _plans.move_to_end(key)
    values = found(order, engine, device)
    for i in wanted:
        order[i].value = values[found.place[i]]
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


def _bring_from_other_devices(order: list[Node], device: Device) -> None:
    """Runs what transfers from other devices read, then the transfers themselves."""
    for node in order:
        if node.value is None and node.op.name == "transfer" and node.device is device:
            src = node.srcs[0]
            if src.device is not device:
                realize([src])
                host = backend(src.device.type).to_numpy(src.value)
                node.value = backend(device.type).from_numpy(host, device.index or 0)
                if not node.requires_grad:
                    node.srcs = ()


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
