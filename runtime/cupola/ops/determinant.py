"""Determinants of batches of square matrices, and their signs and logarithms: scalars come as
(..., 1, 1) matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cupola.ir.node import Node
from cupola.ops._build import like
from cupola.ops.custom import host_function
from cupola.ops.elementwise import complex as to_complex
from cupola.ops.elementwise import conj_of, imag
from cupola.ops.linalg import across, adjoint, inverse_or, on_host, square_matrix


def _scalar(name: str, is_real: bool = False) -> Callable[..., Any]:
    def infer(a: Node) -> Any:
        square_matrix(name)(a)
        return (*a.shape[:-2], 1, 1), a.dtype.to_real() if is_real else a.dtype

    return infer


def _determinant_part(k: int) -> Callable[..., Any]:
    def compute(a: Any) -> Any:
        part = np.linalg.slogdet(a)[k]
        return np.asarray(part).reshape(*a.shape[:-2], 1, 1)

    return compute


def _log_back(g: Node, y: Node, a: Node) -> Node:
    scale = g if a.dtype is g.dtype else to_complex(g, like(g, 0))
    return across(scale, a.shape) * adjoint(inverse_or(a, fill=math.nan))


def _sign_back(g: Node, y: Node, a: Node) -> Node:
    """Real signs are constant; a complex one turns by the imaginary part of tr(A^-1 dA)."""
    if not a.dtype.is_complex:
        return like(a, 0)
    turn = imag(g * conj_of(y))
    return across(to_complex(like(turn, 0), turn), a.shape) * adjoint(inverse_or(a, fill=0.0))


determinant = host_function(
    "determinant",
    on_host(lambda a: np.asarray(np.linalg.det(a), a.dtype).reshape(*a.shape[:-2], 1, 1)),
    _scalar("det"),
    (lambda g, y, a: across(g * conj_of(y), a.shape) * adjoint(inverse_or(a, fill=0.0)),),
)
determinant_sign = host_function(
    "determinant_sign", on_host(_determinant_part(0)), _scalar("slogdet"), (_sign_back,)
)
determinant_log = host_function(
    "determinant_log", on_host(_determinant_part(1)), _scalar("slogdet", True), (_log_back,)
)
