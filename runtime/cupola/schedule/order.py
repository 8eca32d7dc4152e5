"""Order: steps in an order in which every operand exists, and where each array dies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cupola.ir.program import Lowered, Plan

if TYPE_CHECKING:
    from cupola.schedule.partition import Lowering, Partition


class Step:
    """A step of the plan, what it reads and what it makes."""

    __slots__ = ("makes", "reads", "step")

    def __init__(
        self, step: tuple[Any, ...], reads: tuple[int, ...], makes: tuple[int, ...]
    ) -> None:
        self.step = step
        self.reads = reads
        self.makes = makes


def ordered(
    partition: Partition, lowering: Lowering, kernels: list[Lowered], stored: frozenset[int]
) -> Plan:
    """The plan that runs these kernels, and the library calls and views around them."""
    program = partition.program
    steps = [Step(("contiguous", i), (), (i,)) for i in partition.reordered]
    steps += _steps(partition, lowering, kernels, stored)
    out = Plan(program)
    order = _sorted(steps)
    last = {s: k for k, step in enumerate(order) for s in step.reads}
    dying: dict[int, list[int]] = {}
    for s, k in last.items():
        if s not in program.wanted:
            dying.setdefault(k, []).append(s)
    for k, step in enumerate(order):
        out.steps.append(step.step)
        if k in dying:
            out.steps.append(("free", tuple(dying[k])))
    return out


def _steps(
    partition: Partition, lowering: Lowering, kernels: list[Lowered], stored: frozenset[int]
) -> list[Step]:
    """All steps, by the position of the last item that each makes."""
    program = partition.program
    made = {i: low for low in kernels for i in low.outputs}
    out = []
    for i in sorted(stored):
        item = program.items[i]
        if item.op.name == "buffer":
            continue
        if i in made:
            low = made[i]
            if i == max(low.outputs):
                out.append(Step(("kernel", low), low.inputs, low.outputs))
        elif item.op.name == "const":
            out.append(Step(("fill", i), (), (i,)))
        elif item.op.kind == "movement" and partition.generated[i]:
            view = lowering.view(program, i, stored)
            if view is None:
                out.append(Step(("call", i), item.srcs, (i,)))
            else:
                out.append(Step(("view", i, view), (view.base,), (i,)))
        else:
            out.append(Step(("call", i), item.srcs, (i,)))
    return out


def _sorted(steps: list[Step]) -> list[Step]:
    """The steps as they are, but each after those whose results it reads."""
    maker = {i: step for step in steps for i in step.makes}
    out: list[Step] = []
    state: dict[int, bool] = {}  # False: its operands are being placed; True: it is placed
    for first in steps:
        stack = [first]
        while stack:
            step = stack[-1]
            if id(step) in state:
                stack.pop()
                if not state[id(step)]:
                    state[id(step)] = True
                    out.append(step)
                continue
            state[id(step)] = False
            needed = {id(maker[i]): maker[i] for i in step.reads if i in maker}
            for key, other in needed.items():
                if key not in state:
                    stack.append(other)
                elif not state[key] and other is not step:
                    raise AssertionError("steps wait for each other")
    return out
