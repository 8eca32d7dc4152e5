"""What to say when memory is not enough: who holds it, and where that was made."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from typing import Any

from cupola.backends.base import Backend
from cupola.engine.devices import _backends
from cupola.engine.lines import line_of, note_lines
from cupola.errors import OutOfMemoryError
from cupola.ir.formula import Formula
from cupola.ir.node import Node

_limited = bool(os.environ.get("CUPOLA_MEMORY_LIMIT"))
_SHOWN = 8  # tensors that a message names
_ADVICE = (
    "What needs less: a smaller batch, cupola.no_grad() where no gradient is asked for, "
    "cupola.utils.checkpoint, autocast; or let go of tensors that are not used any more."
)


def watch(engine: Backend, index: int) -> None:
    """Has lines noted once memory is half used, or limited: a message will have to name them."""
    used, total = engine.memory(index)
    if 2 * used > total > 0 or _limited:
        note_lines()


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Errors for lack of memory say what holds it.

    Raises:
        OutOfMemoryError: in place of any MemoryError.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except MemoryError as why:
        raise OutOfMemoryError(report(str(why))) from why


def report(reason: str) -> str:
    """The reason, what is in use on each device, and the largest tensors alive."""
    lines = [reason or "There is not enough memory."]
    for name, engine in _backends.items():
        used, total = engine.memory(0)
        if total:
            lines.append(f"{name}: {_size(used)} of {_size(total)} are in use by tensors.")
    lines.append("The largest tensors alive:")
    lines += [
        f"  {_size(size):>10}  {str(node.device):7} {node.dtype.name} {list(node.shape)}  "
        f"{_made_by(node)}"
        for size, node in _largest()
    ]
    return "\n".join([*lines, _ADVICE])


def _size(count: int) -> str:
    for unit, step in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= step:
            return f"{count / step:.2f} {unit}"
    return f"{count} bytes"


def _made_by(node: Node) -> str:
    op = node.op.name
    if op == "item" and node.srcs:
        op = node.srcs[0].op.name
    what = {"leaf": "a parameter", "buffer": "given", "detach": "given"}.get(op, op)
    line = line_of(node) or next((line_of(s) for s in node.srcs if op == "item"), "")
    return f"{what} at {line}" if line else what


def _largest() -> list[tuple[int, Node]]:
    """The largest arrays, each with a node that holds it: one whose line is known, if there is."""
    held: dict[int, tuple[int, Node]] = {}
    for node in gc.get_objects():
        if type(node) is not Node or node.value is None or type(node.op) is Formula:
            continue
        array: Any = node.value
        size = getattr(array, "nbytes", 0)
        base = getattr(array, "base", None)
        key = id(array if base is None else base)
        known = held.get(key)
        if known is None or size > known[0] or (size == known[0] and line_of(node)):
            held[key] = size, node
    return sorted(held.values(), key=lambda pair: -pair[0])[:_SHOWN]


__all__ = ["explained", "report", "watch"]
