"""What opt_einsum calls: its names and arguments for contractions of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cupola.functional import PUBLIC
from cupola.tensor import Tensor, from_numpy

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def transpose(a: Tensor, axes: Sequence[int]) -> Tensor:
    """The tensor with its dimensions in another order."""
    out: Tensor = PUBLIC["permute"](a, tuple(axes))
    return out


def tensordot(x: Tensor, y: Tensor, axes: Any = 2) -> Tensor:
    """Sums of products over pairs of dimensions, or over the last and first ``axes`` ones."""
    out: Tensor = PUBLIC["tensordot"](x, y, axes)
    return out


def einsum(equation: str, *operands: Tensor) -> Tensor:
    """Einstein summation; the symbols may be any letters.

    Raises:
        ValueError: more different symbols than there are Latin letters.
    """
    return PUBLIC["einsum"](_latin(equation), *operands)  # type: ignore[no-any-return]


def _latin(equation: str) -> str:
    """The equation in Latin letters: opt_einsum goes on with others after the fifty-second."""
    symbols = sorted(set(equation) - set(" ,.->"))
    if all(s in _LETTERS for s in symbols):
        return equation
    if len(symbols) > len(_LETTERS):
        raise ValueError(f"einsum: {len(symbols)} symbols in one product; {len(_LETTERS)} at most")
    return equation.translate({ord(s): t for s, t in zip(symbols, _LETTERS, strict=False)})


def _tensor(x: Any) -> Any:
    return from_numpy(x) if isinstance(x, np.ndarray) else x


def build_expression(arrays: Any, expression: Any) -> Callable[..., Any]:
    """An expression that takes NumPy's arrays, computes with tensors, and returns an array."""

    def contract(*arrays: Any) -> Any:
        out = expression._contract([_tensor(x) for x in arrays], backend="cupola")
        return out.detach().cpu().numpy()

    return contract


def evaluate_constants(constants: Any, expression: Any) -> Any:
    """The constant operands of an expression as tensors, contracted as far as they go."""
    return expression(*[_tensor(x) for x in constants], backend="cupola", evaluate_constants=True)
