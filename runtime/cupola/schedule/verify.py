"""The program's own rules, checked between stages."""

from __future__ import annotations

from cupola.errors import GraphError
from cupola.ir.program import Program


def verify(program: Program) -> None:
    """Checks topological order, that every wanted item exists and that elementwise operands agree
    in shape.

    Raises:
        GraphError: a pass has broken the program.
    """
    for i, item in enumerate(program.items):
        if any(not 0 <= s < i for s in item.srcs):
            raise GraphError(
                f"item {i} ({item.op.name}) reads {item.srcs}: not in topological order"
            )
        if item.op.kind == "elementwise":
            for s in item.srcs:
                if program.items[s].shape != item.shape:
                    raise GraphError(
                        f"item {i} ({item.op.name}) has shape {item.shape}, operand "
                        f"{program.items[s].shape}"
                    )
    if any(not 0 <= i < len(program.items) for i in program.wanted):
        raise GraphError("a wanted item is missing")
