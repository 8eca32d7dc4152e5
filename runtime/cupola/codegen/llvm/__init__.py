"""The LLVM dialect: a kernel in the lowered loop form becomes the text of an LLVM module."""

from __future__ import annotations

from collections.abc import Sequence

from cupola.codegen.form import Kernel
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

    Candidates are the outer loops and the last inner one. A contiguous access costs one operation a
    vector, a strided one an operation and more a lane; lanes that do not fill a vector run one by
    one.
    """
    width = lanes(kernel, target)
    best, lowest = -1, float("inf")
    code = sum(len(s.code) for s in kernel.stages)
    candidates = list(range(kernel.outer - 1, -1, -1))
    if kernel.inner:
        candidates.insert(0, kernel.outer + kernel.inner - 1)
    for loop in candidates:
        n = meta[loop]
        steps = [a.address.strides[loop] for a in kernel.accesses]
        guarded = sum(any(g.strides[loop] != 0 for g in a.guards) for a in kernel.accesses)
        whole = code + len(steps) + width * (1.5 * steps.count(None) + 0.5 * guarded)
        single = code + len(steps)
        cost = (n // width * whole + n % width * single + 8) / max(n, 1)
        if kernel.inner and loop < kernel.outer:
            cost += 4 / width  # accumulators live in memory
        if cost < lowest * 0.999:
            best, lowest = loop, cost
    return best
