"""What has been lowered before, by its local structure.

Layers of a network, steps of a recurrence and the parameters of an optimizer give the same kernels
again and again, in other places of a program. A kernel's description counts its items from its
own results on, so that equal kernels have equal descriptions; kernels that go element by element
over contiguous arrays are described without their sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.codegen.view import array_strides, view
from cupola.ir.program import Lowered, NeedBoundary, Program

_LIMIT = 1 << 13
_known: dict[Any, Any] = {}


class Local:
    """A kernel's surroundings, described by themselves.

    Attributes:
        key: the description.
        items: the program's items in the order in which the description counts them.
    """

    def __init__(
        self,
        program: Program,
        roots: tuple[int, ...],
        hidden: tuple[int, ...],
        stored: frozenset[int],
        inlined: frozenset[int],
    ) -> None:
        items = program.items
        members = (*roots, *hidden)
        own = frozenset(members)
        number: dict[int, int] = {}
        self.items: list[int] = []
        entries: list[Any] = []
        shape = items[roots[0]].shape
        count = 1
        for n in shape:
            count *= n
        plain = count > 1
        stack: list[tuple[int, bool]] = [(i, False) for i in reversed(members)]
        while stack:
            i, ready = stack.pop()
            if i in number:
                continue
            item = items[i]
            kind = item.op.kind
            seen = None
            loads = i in stored and i not in own
            if loads and kind == "movement":
                seen = view(program, i, stored)
                if seen is not None and not ready and seen.base not in number:
                    stack += ((i, True), (seen.base, False))
                    continue
            through = seen is not None and seen.base in own  # computed, not loaded
            if loads and not through:
                number[i] = len(self.items)
                self.items.append(i)
                if seen is not None:
                    place: Any = (number[seen.base], seen.offset, seen.strides)
                    plain = False
                else:
                    strides = array_strides(item)
                    whole = item.op.name != "buffer" or item.attr("strides") is None
                    place = (strides, whole)
                    plain = plain and whole
                same = plain and item.shape == shape
                entries.append((None, item.dtype, place, item.shape))
                if plain:
                    entries[-1] = (None, item.dtype, same or item.shape)
                    plain = same or _single(item.shape)
                continue
            if not ready:
                stack.append((i, True))
                stack += [(s, False) for s in reversed(item.srcs) if s not in number]
                continue
            number[i] = len(self.items)
            self.items.append(i)
            if plain:
                plain = _is_plain(item, items, shape, i in own)
            entries.append(
                (
                    item.op,
                    item.attrs,
                    tuple([number[s] for s in item.srcs]),
                    item.shape,
                    item.dtype,
                    i in inlined,
                )
            )
        head = (program.device_type, len(roots), tuple([number[i] for i in members]))
        self.count = 0
        if plain and all(items[i].shape == shape for i in members):
            self.count = count
            entries = [
                e if len(e) == 3 else (e[0], _sizeless(e[1], shape), e[2], e[3] == shape, e[4])
                for e in entries
            ]
        # Movement that has been given memory of its own is lowered otherwise than before.
        copied = tuple([k for k, i in enumerate(self.items) if i in program.copied])
        self.key = (head, copied, self.count > 0, tuple(entries))


def _single(shape: tuple[int, ...]) -> bool:
    return all(n == 1 for n in shape)


def _is_plain(item: Any, items: list[Any], shape: tuple[int, ...], own: bool) -> bool:
    """Whether an item goes over all elements one by one, or is a number, at any size."""
    if item.op.name == "const":
        return not own
    if item.op.kind == "elementwise":
        return item.op.name != "iota" and (item.shape == shape or _single(item.shape))
    if item.op.name in ("expand", "reshape"):
        return _single(items[item.srcs[0]].shape)
    return False


def _sizeless(attrs: tuple[tuple[str, Any], ...], shape: tuple[int, ...]) -> Any:
    return tuple([(k, True if v == shape else v) for k, v in attrs])


def remembered(
    make: Callable[..., Lowered],
    program: Program,
    roots: tuple[int, ...],
    hidden: tuple[int, ...],
    stored: frozenset[int],
    inlined: frozenset[int],
) -> Lowered:
    """``make``'s result for these arguments, from an equal kernel where there was one.

    Raises:
        NeedBoundary: as ``make`` does.
    """
    local = Local(program, roots, hidden, stored, inlined)
    found = _known.get(local.key)
    if found is None:
        found = _make(make, local, (program, roots, hidden, stored, inlined))
        if isinstance(found, Lowered):  # its form depends on more than the description says
            return found
        if len(_known) >= _LIMIT:
            _known.clear()
        _known[local.key] = found
    items = local.items
    if found[0] is None:
        raise NeedBoundary(items[found[1]], roots[0] if found[2] < 0 else items[found[2]])
    kernel, inputs, meta, scalars, alike = found
    if local.count:
        meta = (local.count, *meta[1:])
    return Lowered(
        kernel,
        tuple([items[k] for k in inputs]),
        roots,
        meta,
        tuple([items[k] for k in scalars]),
        alike,
    )


def _make(make: Callable[..., Lowered], local: Local, arguments: tuple[Any, ...]) -> Any:
    number = {i: k for k, i in enumerate(local.items)}
    try:
        low = make(*arguments)
    except NeedBoundary as need:
        if need.item not in number:
            raise
        return (None, number[need.item], number.get(need.root, -1))
    if local.count and (low.alike is None or low.meta[0] != local.count):
        return low
    return (
        low.kernel,
        tuple([number[i] for i in low.inputs]),
        low.meta,
        tuple([number[i] for i in low.scalars]),
        low.alike,
    )
