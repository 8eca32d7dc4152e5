"""The Python lines that recorded operators come from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from cupola.ir.formula import Formula
from cupola.ir.node import Node
from cupola.ir.op import Primitive

_PACKAGE = str(Path(__file__).resolve().parent.parent)
_of: WeakKeyDictionary[Node, str] = WeakKeyDictionary()
_noting: list[bool] = []


def user_line() -> str:
    """``file:line`` of the first frame outside cupola."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def line_of(node: Node) -> str:
    """Where a node was recorded, if that was noted."""
    return _of.get(node, "")


def note_lines() -> None:
    """From now on the line of every recorded operator is noted, which costs about a microsecond
    each.
    """
    if _noting:
        return
    _noting.append(True)
    Primitive.__call__ = _noted(Primitive.__call__)  # type: ignore[method-assign]
    Formula.record = _noted(Formula.record)  # type: ignore[method-assign]


def _noted(real: Any) -> Any:
    def note(op: Any, *srcs: Any, **attrs: Any) -> Node:
        out: Node = real(op, *srcs, **attrs)
        _of[out] = user_line()
        return out

    return note
