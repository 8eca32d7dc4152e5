"""Tapes met before: the gradients of a known structure are recorded as one node.

Every step of a training loop walks a tape of the same structure, and its rules record the same
graph again. The first walk is kept as a formula: what it recorded, free of values, and which
values of the tape that reads. Later walks only compare structures. Rules see operands' shapes,
dtypes and attributes, which are compared, and never their values.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, NamedTuple

from cupola.autodiff.walk import Walk, release, saves, tape
from cupola.ir.formula import Formula
from cupola.ir.kind import kind_of
from cupola.ir.mode import mode
from cupola.ir.node import Node
from cupola.ir.op import check_stale, pending
from cupola.ir.source import BUFFER, EMPTY_ATTRS, is_nobodys, item

_LIMIT = 512  # structures that are kept


class Tape:
    """A tape written down: its structure, and the values that gradients may read.

    Attributes:
        key: equal for tapes whose rules record the same graph; None if rules may do otherwise.
        values: the nodes of the tape, operands first; their operands that take no gradient; seeds.
        stale: positions in ``values`` of what was overwritten in place.
    """

    def __init__(self, order: list[Node], roots: list[Node], seeds: list[Node]) -> None:
        self.values: list[Node] = []
        self.stale: list[int] = []
        self.key: Any = None
        self.place: dict[int, int] = {}
        items = self._items(order, roots[0].device)
        if items is None:
            return
        first = len(self.values)
        for seed in seeds:
            items.append((None, kind_of(seed)))
            self._add(seed)
        ends = tuple([self.place[id(r)] for r in roots])
        self.key = (roots[0].device, ends, first, tuple(items))

    def _add(self, node: Node) -> int:
        place = self.place[id(node)] = len(self.values)
        self.values.append(node)
        if node.stale != -1:
            self.stale.append(place)
        return place

    def _items(self, order: list[Node], device: Any) -> list[Any] | None:
        place, values, items = self.place, self.values, []
        for node in order:
            meta = node.meta
            if meta is not None and (meta.get("hooks") or "backward" in meta):
                return None
            if node.device is not device:
                return None
            if meta is not None and "leaf" in meta:
                items.append((is_nobodys(node), kind_of(node)))
            else:
                srcs = []
                for s in node.srcs:
                    k = place.get(id(s))
                    if k is None:
                        if s.device is not device:
                            return None
                        k = self._add(s)
                        items.append((None, kind_of(s)))
                    srcs.append(k)
                if node.form is not None:
                    items.append((node.form, node.order, tuple(srcs)))
                else:
                    attrs = tuple(node.attrs.items()) if node.attrs else ()
                    items.append((node.op, attrs, kind_of(node), tuple(srcs)))
            place[id(node)] = len(values)
            values.append(node)
            if node.stale != -1:
                self.stale.append(len(values) - 1)
        return items


class _Recorded(NamedTuple):
    """One node of a recorded gradient; ``srcs`` are positions among operands and earlier nodes."""

    op: Any
    attrs: dict[str, Any]
    srcs: tuple[int, ...]
    shape: Any
    dtype: Any


class Template:
    """What a walk recorded, to be recorded again as one node for other tapes of that structure.

    Args:
        known: the tape that was walked.
        walk: the walk, whose ``reads`` were noted.
        found: the gradients, by id of the node that they belong to.

    Attributes:
        whole: False if the walk read what is not part of the tape.
    """

    def __init__(self, known: Tape, walk: Walk, found: dict[int, Node]) -> None:
        place = known.place
        self.reads: list[int] = []
        self.uses = [
            (place[id(node)], k) for node, used in walk.reads or () for k in _within(used, place)
        ]
        self.released = [place[id(node)] for node, used in walk.reads or () if saves(node, used)]
        order = _new(list(found.values()), place)
        self.whole = order is not None and self._describe(order, found, known)

    def _describe(self, order: list[Node], found: dict[int, Node], known: Tape) -> bool:
        place, device = known.place, known.values[0].device
        read = sorted({place[id(s)] for n in order for s in n.srcs if id(s) in place})
        self.reads = read
        index = {id(known.values[k]): i for i, k in enumerate(read)}
        self.body: list[_Recorded] = []
        for n in order:
            if n.device is not device:
                return False
            srcs = n.srcs[:1] if n.op.kind == "alias" else n.srcs
            try:
                where = tuple([index[id(s)] for s in srcs])
            except KeyError:  # an array that a rule made, or a value behind the tape
                return False
            self.body.append(_Recorded(n.op, n.attrs, where, n.shape, n.dtype))
            index[id(n)] = len(index)
        results = {id(g): g for g in found.values() if id(g) not in place}
        slot = {key: i for i, key in enumerate(results)}
        self.outputs = [index[key] for key in results]
        self.orders = [g.order for g in results.values()]
        # Each gradient is a result, or a value of the tape itself.
        self.gradients = [
            (place[key], slot.get(id(g), -1), place.get(id(g), -1)) for key, g in found.items()
        ]
        if not self.outputs or not self.reads:
            return False
        shapes = tuple([g.shape for g in results.values()])
        self.kinds = shapes, tuple([g.dtype for g in results.values()])
        self.formula = Formula("gradients", self._written_out)
        return True

    def _written_out(self, *operands: Node) -> tuple[Node, ...]:
        nodes = list(operands)
        device = nodes[0].device
        for op, attrs, srcs, shape, dtype in self.body:
            nodes.append(Node(op, tuple([nodes[s] for s in srcs]), attrs, shape, dtype, device))
        return tuple([nodes[k] for k in self.outputs])

    def apply(self, tape: Tape, retain_graph: bool) -> dict[int, Node]:
        """The gradients of another tape of the same structure."""
        values = tape.values
        if tape.stale:
            gone = set(tape.stale)
            for at, k in self.uses:
                if k in gone:
                    check_stale(values[k], values[at].serial)
        recording, mode.grad = mode.grad, False
        try:
            operands = tuple([values[k] for k in self.reads])
            joint = self.formula.record(operands, EMPTY_ATTRS, *self.kinds)
        finally:
            mode.grad = recording
        pending.count += len(self.body)
        results = [item(joint, i) for i in range(len(self.outputs))]
        for result, order in zip(results, self.orders, strict=True):
            result.order = order
        found = {
            id(values[of]): results[slot] if slot >= 0 else values[at]
            for of, slot, at in self.gradients
        }
        if not retain_graph:
            for k in self.released:
                release(values[k])
        return found


def _within(used: tuple[int, ...], place: dict[int, int]) -> list[int]:
    return [place[i] for i in used if i in place]


def _new(roots: list[Node], known: dict[int, int]) -> list[Node] | None:
    """What was recorded behind ``roots``, operands first, up to known nodes; None if it holds
    values of its own.
    """
    order: list[Node] = []
    seen: set[int] = set()
    stack = [(r, False) for r in reversed(roots)]
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif id(node) not in seen and id(node) not in known:
            computed = node.value is not None and not (node.op.kind == "alias" and node.srcs)
            if computed or node.op is BUFFER:
                return None
            seen.add(id(node))
            stack.append((node, True))
            stack += [(s, False) for s in node.srcs]
    return order


class _Known(threading.local):
    def __init__(self) -> None:
        self.templates: OrderedDict[Any, Template | None] = OrderedDict()


_known = _Known()


def gradients(
    roots: list[Node],
    seeds: list[Node],
    inputs: list[Node] | None,
    retain_graph: bool,
    order: list[Node] | None = None,
) -> dict[int, Node]:
    """``Walk.run`` without ``create_graph``, remembering what it recorded."""
    order = tape(roots) if order is None else order
    known = Tape(order, roots, seeds)
    if known.key is None or any(id(n) not in known.place for n in inputs or ()):
        return Walk(roots, seeds, inputs, False, retain_graph, order).run()
    wanted = None if inputs is None else tuple([known.place[id(n)] for n in inputs])
    key = (wanted, known.key)
    templates = _known.templates
    try:
        template = templates.get(key, _known)
    except TypeError:  # an attribute that cannot be compared
        return Walk(roots, seeds, inputs, False, retain_graph, order).run()
    if template is not _known:
        templates.move_to_end(key)
        if template is not None:
            return template.apply(known, retain_graph)
        return Walk(roots, seeds, inputs, False, retain_graph, order).run()
    walk = Walk(roots, seeds, inputs, False, retain_graph, order)
    walk.reads = []
    found = walk.run()
    template = Template(known, walk, found)
    templates[key] = template if template.whole else None
    if len(templates) > _LIMIT:
        templates.popitem(last=False)
    # Recorded as every later one will be: there is one program to plan.
    return template.apply(known, True) if template.whole else found


__all__ = ["gradients"]
