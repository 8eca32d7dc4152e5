"""Order: steps in an order in which every operand exists, and where each array dies.

Equal kernels that do not wait for each other (an optimizer's updates) become one step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cupola.ir.program import Lowered, Plan, StridedView, strides_of

if TYPE_CHECKING:
    from cupola.schedule.partition import Lowering, Partition


# So many equal kernels are worth a launch of their own kind.
SHARED = 4


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
    order = _sorted(_shared(_sorted(steps)))
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
        elif item.op.name == "copy" and is_last_look(partition, item.srcs[0]):
            view_of_all = StridedView(item.srcs[0], 0, strides_of(item.shape))
            out.append(Step(("view", i, view_of_all), item.srcs, (i,)))
        elif item.op.kind == "movement" and partition.generated[i]:
            view = lowering.view(program, i, stored)
            if view is None:
                out.append(Step(("call", i), item.srcs, (i,)))
            else:
                out.append(Step(("view", i, view), (view.base,), (i,)))
        else:
            out.append(Step(("call", i), item.srcs, (i,)))
    return out


def is_last_look(partition: Partition, i: int) -> bool:
    """Whether a product's result, row-major in memory of its own, has one reader only."""
    name = partition.items[i].op.name
    fresh = name.startswith(("matmul", "convolution"))
    return fresh and i not in partition.program.wanted and len(partition.consumers[i]) == 1


def _shared(steps: list[Step]) -> list[Step]:
    """Joins equal kernels: those from which the way to the end of the program is equally long.

    None of them can then wait for another, nor can steps joined so wait for each other in turn.
    """
    maker = {i: k for k, step in enumerate(steps) for i in step.makes}
    height = [0] * len(steps)
    for k in range(len(steps) - 1, -1, -1):
        for i in steps[k].reads:
            if i in maker:
                height[maker[i]] = max(height[maker[i]], height[k] + 1)
    alike: dict[object, list[int]] = {}
    for k, step in enumerate(steps):
        if step.step[0] == "kernel" and step.step[1].alike is not None:
            alike.setdefault((step.step[1].alike, height[k]), []).append(k)
    joined: dict[int, Step | None] = {}
    for members in alike.values():
        if len(members) < SHARED:
            continue
        joined.update(dict.fromkeys(members))
        some = [steps[k] for k in members]
        joined[members[-1]] = Step(
            ("kernels", tuple(s.step[1] for s in some)),
            tuple(i for s in some for i in s.reads),
            tuple(i for s in some for i in s.makes),
        )
    found = [joined.get(k, step) for k, step in enumerate(steps)]
    return [step for step in found if step is not None]


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
