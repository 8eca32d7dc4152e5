"""Realize: record -> program -> plan -> launches.

Every observation of a value (``.numpy()``, ``.item()``, ``print``) comes here with the node that is
wanted. Its unrealized ancestors become a program; the program's plan is looked up by structure; the
plan's steps run on the device.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from itertools import count
from typing import Any

import numpy as np

from cupola.engine import devices, garbage, memory
from cupola.engine.compiled import Compiled
from cupola.engine.devices import backend
from cupola.engine.run import stats
from cupola.ir import forks
from cupola.ir.device import device as Device
from cupola.ir.formula import Formula, is_heavy
from cupola.ir.kind import Form, kind_of
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import pending
from cupola.ir.program import Item, Program, constant
from cupola.ir.source import BUFFER as _BUFFER
from cupola.ir.source import CONST as _CONST
from cupola.ir.source import ITEM as _ITEM
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


# Walks write their numbering into the nodes; threads share nodes (parameters), so one at a time.
_numbering = forks.hold(threading.RLock())
_walks = count(1)


def walk(targets: list[Node]) -> list[Node]:
    """Unrealized ancestors and the values they read, operands first."""
    order: list[Node] = []
    add = order.append
    with _numbering:
        mark = next(_walks)
        stack = targets[::-1]
        pop, push = stack.pop, stack.append
        while stack:
            node = pop()
            if node.mark == mark:
                if node.place < 0:  # its operands are in place
                    node.place = len(order)
                    add(node)
                continue
            node.mark = mark
            node.uses = 0
            if node.value is not None or not node.srcs:
                node.place = len(order)
                add(node)
                continue
            if node.op is _ITEM and node.srcs[0].value is not None:
                node.value = node.srcs[0].value[node.attrs["index"]]
                if not node.requires_grad:
                    node.srcs = ()
                node.place = len(order)
                add(node)
                continue
            node.place = -1
            push(node)
            if node.op.kind == "alias":
                if node.srcs[0].mark != mark:
                    push(node.srcs[0])
            else:
                for s in reversed(node.srcs):
                    if s.mark != mark:
                        push(s)
    return order


# Larger slices are left to the kernels that read them.
_PICKED = 16 << 20


def _pick(slices: list[Node]) -> None:
    """Gives slices of whole rows of arrays at hand their values: copies of the rows.

    Where a slice begins is part of a program's structure. A loader takes other rows for each batch,
    and every step of training would be planned anew.
    """
    for node in slices:
        if node.value is None and not node.requires_grad:
            base = node.srcs[0].value
            if base is None or not base.flags.c_contiguous or 0 in node.shape:
                continue
            starts, stops, steps = (node.attrs[k] for k in ("starts", "stops", "steps"))
            rows = base[tuple(map(slice, starts, stops, steps))]
            if rows.flags.c_contiguous and rows.nbytes <= _PICKED:
                node.value, node.srcs = rows.copy(), ()


def _strides(array: Any) -> tuple[int, ...] | None:
    if array.flags.c_contiguous:
        return None
    size = array.dtype.itemsize
    return tuple(s // size for s in array.strides)


def described(order: list[Node]) -> tuple[Any, ...]:
    """A program without values, in the order of its nodes, to be looked up; ``written`` makes items
    of it. A form, a form with positions of operands, or an item's attributes for each node.
    """
    items: list[Any] = []
    add = items.append
    srcs: tuple[int, ...]
    with _numbering:
        for i, node in enumerate(order):
            node.place = i
        for node in order:
            op, array = node.op, node.value
            if array is not None:
                if op.multi:
                    add((_BUFFER, (), (), node.shape, node.dtype))
                elif array.flags.c_contiguous:
                    kind = node.kind
                    add((kind_of(node) if kind is None else kind).stored)
                else:
                    strides = (("strides", _strides(array)),)
                    add((_BUFFER, strides, (), node.shape, node.dtype))
                continue
            attrs = node.attrs
            if op is _CONST:
                add((op, constant(attrs["value"]), (), node.shape, node.dtype))
                continue
            read = node.srcs
            if len(read) == 1 or op.kind == "alias":
                srcs = (read[0].place,)
            elif len(read) == 2:
                srcs = (read[0].place, read[1].place)
            else:
                srcs = tuple([s.place for s in read])
            form = node.form
            if form is not None:
                add((form, srcs))
                continue
            add((op, tuple(attrs.items()) if attrs else (), srcs, node.shape, node.dtype))
    return tuple(items)


def written(description: tuple[Any, ...]) -> list[Item]:
    """The items of what has been described."""
    items = []
    for each in description:
        if type(each) is Form:
            items.append(Item(each.op, each.attrs, (), each.shape, each.dtype))
        elif len(each) == 2:
            form, srcs = each
            items.append(Item(form.op, form.attrs, srcs, form.shape, form.dtype))
        else:
            items.append(Item(*each))
    return items


def _external(order: list[Node]) -> list[bool]:
    """Which nodes to be computed somebody outside the program still refers to: tensors, or recorded
    operators not run now. The order is that of the last walk.
    """
    for node in order:
        if node.value is None:
            for s in node.srcs:
                s.uses += 1
    needed = _needed(order)
    node = s = None  # type: ignore[assignment]
    # One reference from ``order``, one from the loop variable, one from getrefcount's argument.
    return [
        n.value is None
        and n.op is not _CONST
        and (sys.getrefcount(n) - 3 - n.uses - n.taped > 0 or n.place in needed)
        for n in order
    ]


def _needed(order: list[Node]) -> set[int]:
    """Places of what libraries compute, gradients will still be asked for, and lies in memory
    anyway: several read it. Without it a later backward pass would compute it again.
    """
    found: set[int] = set()
    for node in order:
        if node.value is None and node.requires_grad and not node.freed:
            if node.uses > 1 and is_heavy(node):
                found.add(node.place)
            elif type(node.op) is Formula and node.op.rereads:
                found.update([s.place for s in node.srcs if s.value is None and is_heavy(s)])
    return found


def realize(targets: list[Node]) -> None:
    """Computes the values of nodes (and of every ancestor that is still referred to)."""
    todo = [t for t in targets if t.value is None]
    if not todo:
        return
    pending.done = pending.count
    with memory.explained():
        for device in {t.device for t in todo}:
            _realize_on(device, [t for t in todo if t.device is device])


def start(nodes: list[Node]) -> None:
    """A good moment to compute these nodes, which nobody has observed yet."""
    if not mode.held:
        realize(nodes)


def _realize_on(device: Device, targets: list[Node]) -> None:
    with _numbering:
        order = walk(targets)
        special = [n for n in order if n.value is None and n.op.name in ("transfer", "slice")]
        if special:
            _given(special, device)
            targets = [t for t in targets if t.value is None]
            if not targets:
                return
            order = walk(targets)
        del special
        external = _external(order)
        kept = [i for i, is_kept in enumerate(external) if is_kept]
        wanted = frozenset(kept + [t.place for t in targets])
        items = described(order)
    key = (device.type, items, wanted)
    found = _plans.get(key)
    engine = backend(device.type)
    if found is None:
        stats["plans"] += 1
        garbage.relax()
        program = Program(written(items), wanted, device.type)
        found = _plans[key] = Compiled(program, engine)
        if len(_plans) > _PLAN_LIMIT:
            _plans.popitem(last=False)
    else:
        stats["hits"] += 1
        _plans.move_to_end(key)
    values = found.again(order, engine, device)
    memory.watch(engine, device.index or 0)
    for i in wanted:
        p = found.place[i]
        order[i].value = values[p] if p >= 0 else tuple([values[r] for r in found.results[i]])
    for node in order:
        if node.value is not None and node.srcs:
            if not node.requires_grad or node.freed or node.op is _LEAF:
                # No gradient flows through a leaf: keeping its source would keep every earlier step
                # of training.
                node.srcs = ()
            else:
                for s in node.srcs:
                    if s.value is None:
                        s.taped += 1


def _given(special: list[Node], device: Device) -> None:
    """Values of what is there already: tensors of other devices, rows of arrays."""
    _bring_from_other_devices(special, device)
    if not mode.held:
        _pick([n for n in special if n.op.name == "slice"])


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
    with memory.explained():
        return backend(device.type).from_numpy(array, device.index or 0)
