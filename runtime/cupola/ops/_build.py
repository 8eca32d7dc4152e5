"""Helpers of the declarations: constants, operator overloading on nodes, adapters for
references.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ir.source import const


def like(x: Node, value: Any) -> Node:
    """A constant with the shape, dtype and device of ``x``."""
    return const(value, x.shape, x.dtype, x.device)


def install(name: str, primitive: Primitive) -> None:
    """Gives Node the Python operator ``name`` (``mul``: ``*``), with numbers on either side."""

    def forward(self: Node, other: Any) -> Node:
        return primitive(self, other if isinstance(other, Node) else like(self, other))

    def backward(self: Node, other: Any) -> Node:
        return primitive(like(self, other), self)

    setattr(Node, f"__{name}__", forward)
    setattr(Node, f"__r{name}__", backward)


def same_shape(name: str, *xs: Node) -> tuple[int, ...]:
    """Checks that elementwise operands agree; the functional layer has broadcast them already."""
    first: tuple[int, ...] = xs[0].shape
    for x in xs[1:]:
        if x.shape != first:
            raise RuntimeError(f"{name}: shapes {[list(v.shape) for v in xs]} differ")
    return first


def of_real(name: str, infer: Callable[..., Any]) -> Callable[..., Any]:
    """The shape and dtype rule of what complex numbers have no order or no value for.

    Raises (the rule):
        NotImplementedError: the last operand is complex.
    """

    def checked(*xs: Any, **attrs: Any) -> Any:
        found = xs[-1].dtype
        if found.is_complex:
            raise NotImplementedError(f'"{name}" not implemented for complex numbers ({found})')
        return infer(*xs, **attrs)

    return checked


def computed_in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a NumPy function take half types: computes in float32 and rounds back."""

    def wrapper(xp: Any, *arrays: Any, **attrs: Any) -> Any:
        narrow = arrays[-1].dtype
        if narrow.itemsize >= 4 or narrow.kind in "biu":
            return function(xp, *arrays, **attrs)
        wide = [a.astype(xp.float32) if a.dtype == narrow else a for a in arrays]
        out = function(xp, *wide, **attrs)
        return out.astype(narrow) if out.dtype == xp.float32 else out

    return wrapper
