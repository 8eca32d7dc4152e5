"""The LLVM dialect: a kernel in the lowered loop form becomes the text of an LLVM module."""

from __future__ import annotations

from collections.abc import Sequence

from cupola.codegen.form import AccessMeta, Kernel, meta_layout
from cupola.codegen.llvm.libm import SYMBOLS
from cupola.codegen.llvm.library import library_function
from cupola.codegen.llvm.nest import POINTER_OFFSET, TASK, Nest, Program, lanes, weight
from cupola.codegen.llvm.reduction import can_split
from cupola.codegen.llvm.target import Target, target_from_features
from cupola.codegen.llvm.types import supported

__all__ = [
    "POINTER_OFFSET", "SYMBOLS", "TASK", "Program", "Target", "axis_for", "can_split",
    "default_axis", "generate", "lanes", "library_function", "supported", "target_from_features",
    "weight",
]  # fmt: skip


def generate(
    kernel: Kernel, target: Target, axis: int | None = None, split: bool = False
) -> Program:
    """LLVM IR for a kernel with the given loop as vector axis (None: the last one).

    ``split`` makes code whose reduction several tasks can share (see ``reduction``).

    Raises:
        NotImplementedError: an element type or operation that the dialect lacks.
    """
    return Nest(kernel, target, default_axis(kernel) if axis is None else axis, split).program()


def default_axis(kernel: Kernel) -> int:
    """The loop to run over lanes where sizes are unknown: the last inner one, else the last outer
    one.
    """
    return kernel.outer + kernel.inner - 1


def axis_for(kernel: Kernel, target: Target, meta: Sequence[int]) -> int:
    """The loop to run over lanes for given sizes: the one that costs least by a rough count.

    Candidates are the outer loops and the last inner one.
    """
    candidates = list(range(kernel.outer - 1, -1, -1))
    if kernel.inner:
        candidates.insert(0, kernel.outer + kernel.inner - 1)
    if len(candidates) <= 1:
        return candidates[0] if candidates else -1
    width = lanes(kernel, target)
    places = meta_layout(kernel).accesses
    costs = [_cost(kernel, places, loop, width, meta) for loop in candidates]
    lowest = min(costs)
    return next(loop for loop, cost in zip(candidates, costs) if cost <= lowest * 1.001)


def _cost(
    kernel: Kernel, layout: Sequence[AccessMeta], axis: int, width: int, meta: Sequence[int]
) -> float:
    """Operations an outer element.

    A contiguous access is one operation a vector, a strided one more than one a lane, twice that
    where each lane is in another cache line. What does not fill a vector runs one by one.
    Accumulators of columns live in memory.
    """
    columns = axis < kernel.outer
    n = meta[axis]
    inner = 1
    for size in meta[kernel.outer : kernel.outer + kernel.inner]:
        inner *= size
    total = 0.0
    for stage in kernel.stages:
        used = {int(i.extra or 0) for i in stage.code if i.op == "load"}
        used |= {s.access for s in stage.stores}
        accesses = [(kernel.accesses[k], layout[k]) for k in used]
        single = whole = float(
            len(stage.code) + len(accesses) + (4 if columns and stage.reduces else 0)
        )
        if stage.kind == "point" and not columns:
            total += single
            continue
        for a, place in accesses:
            if a.address.strides[axis] is None or a.indirect:
                step = 0 if a.indirect else abs(meta[place.strides[axis]])
                near = step * kernel.buffers[a.buffer].itemsize < 64
                whole += (1.5 if near else 3.0) * width
            if any(g.strides[axis] != 0 for g in a.guards):
                whole += 2
        run = n // width * whole + n % width * single + 6
        times = 1 if stage.kind == "point" else inner
        total += run * times / max(n, 1)
    return total
