"""Where programs import ``Function`` and its kin from (torch.autograd.function)."""

from __future__ import annotations

from typing import Any

from cupola.tensor import Function, once_differentiable
from cupola.tensor.function import FunctionCtx

__all__ = [
    "BackwardCFunction",
    "Function",
    "FunctionCtx",
    "FunctionMeta",
    "InplaceFunction",
    "once_differentiable",
]

BackwardCFunction = FunctionCtx
FunctionMeta = type(Function)


class InplaceFunction(Function):
    """A function that may write its result into its argument (kept for old programs)."""

    def __init__(self, inplace: Any = False) -> None:
        super().__init__()
        self.inplace = inplace
