"""The matrix exponential by Taylor polynomials of few products, with scaling and squaring.

Bader, Blanes and Casas (2019), "Computing the matrix exponential with an optimized Taylor
polynomial approximation", whose degrees and bounds PyTorch uses too: results
agree with its to rounding.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cupola.ir.node import Node
from cupola.ops._build import like
from cupola.ops.custom import host_function
from cupola.ops.linalg import adjoint, columns, on_host, rows, square_matrix
from cupola.ops.movement import cat

# The 1-norm up to which a degree is exact to rounding.
_BOUNDS = {
    4: {
        1: 1.192092800768788e-07,
        2: 5.978858893805233e-04,
        4: 5.116619363445086e-02,
        8: 5.800524627688768e-01,
        12: 1.461661507209034e00,
        18: 3.010066362817634e00,
    },
    8: {
        1: 2.220446049250313e-16,
        2: 2.580956802971767e-08,
        4: 3.397168839976962e-04,
        8: 4.991228871115323e-02,
        12: 2.996158913811580e-01,
        18: 1.090863719290036e00,
    },
}
_ROOT = math.sqrt(177)
_X3 = 2 / 3
_DEGREE_8 = (
    _X3 * (1 + _ROOT) / 88,
    _X3 * (1 + _ROOT) / 352,
    _X3,
    (-271 + 29 * _ROOT) / (315 * _X3),
    11 * (-1 + _ROOT) / (1260 * _X3),
    11 * (-9 + _ROOT) / (5040 * _X3),
    (89 - _ROOT) / (5040 * _X3**2),
    (857 - 58 * _ROOT) / 630,
)
_DEGREE_12 = (
    (9.0198e-16, 0.46932117595418237, -0.20099424927047284, -0.04623946134063072),
    (5.315978957598713, 1.1992679041713223, 0.01179296240992997, 0.01108844528519168),
    (0.18188869982170435, 0.0550279843992539907, 0.09351590770535415, 0.006107005288980582),
    (-2.0861320e-13, -0.13181061013830184, -0.02027855540589259, -0.006759518468630864),
)
_DEGREE_18 = (
    (0.0, -0.10036558103014462, -0.00802924648241157, -0.00089213849804573, 0.0),
    (
        *(0.0, 3.97849749499645077844e-01, 1.36783778460411720168e00),
        *(4.98289622525382669416e-01, -6.37898194594723280150e-04),
    ),
    (
        *(-1.09676396052962061844e01, 1.68015813878906206114e00, 5.71779846478865511061e-02),
        *(-6.98210122488052056106e-03, 3.34975017086070470649e-05),
    ),
    (
        *(-9.04316832390810593223e-02, -6.76404519071381882256e-02, 6.75961301770459654925e-02),
        *(2.95552570429315521194e-02, -1.39180257516060693404e-05),
    ),
    (
        *(0.0, 0.0, -9.23364619367118555360e-02),
        *(-1.69364939002081722752e-02, -1.40086798182036094347e-05),
    ),
)


def _combined(weights: Any, powers: Any) -> Any:
    """One linear combination of the powers a row of weights."""
    stack = np.stack(powers)
    real = np.asarray(weights, stack.real.dtype)
    return np.tensordot(real, stack, 1)


def _taylor(a: Any, degree: int) -> Any:
    one = np.eye(a.shape[-1], dtype=a.dtype)
    if degree == 1:
        return one + a
    a2 = a @ a
    if degree == 2:
        return one + a + a2 / 2
    if degree == 4:
        return one + a + a2 @ (one / 2 + a / 6 + a2 / 24)
    if degree == 8:
        x1, x2, x3, x4, x5, x6, x7, y2 = (a.real.dtype.type(x) for x in _DEGREE_8)
        a4 = a2 @ (x1 * a + x2 * a2)
        a8 = (x3 * a2 + a4) @ (x4 * one + x5 * a + x6 * a2 + x7 * a4)
        return one + a + y2 * a2 + a8
    a3 = a @ a2
    if degree == 12:
        b = _combined(_DEGREE_12, (one, a, a2, a3))
        a6 = b[2] + b[3] @ b[3]
        return b[0] + (b[1] + a6) @ a6
    b = _combined(_DEGREE_18, (one, a, a2, a3, a3 @ a3))
    a9 = b[0] @ b[4] + b[3]
    return b[1] + (b[2] + a9) @ a9


def _exponential(a: Any) -> Any:
    norm = float(np.abs(a).sum(-2).max()) if a.size else 0.0
    bounds = _BOUNDS[a.real.dtype.itemsize]
    degree = next((d for d, bound in bounds.items() if norm <= bound), None)
    if degree is not None:
        return _taylor(a, degree)
    if not math.isfinite(norm):
        return np.full_like(a, np.nan)
    squarings = max(0, math.ceil(math.log2(norm / bounds[18])))
    out = _taylor(a * a.real.dtype.type(2.0**-squarings), 18)
    for _ in range(squarings):
        out = out @ out
    return out


def _all(a: Any) -> Any:
    out = np.empty_like(a)
    for which in np.ndindex(a.shape[:-2]):
        out[which] = _exponential(a[which])
    return out


def _back(g: Node, y: Node, a: Node) -> Node:
    """The upper right block of exp([[A^H, g], [0, A^H]])."""
    n, d = a.shape[-1], a.ndim
    ah = adjoint(a)
    top = cat(ah, g, dim=d - 1)
    low = cat(like(g, 0), ah, dim=d - 1)
    return columns(rows(matrix_exp(cat(top, low, dim=d - 2)), 0, n), n, 2 * n)


matrix_exp = host_function("matrix_exp", on_host(_all), square_matrix("matrix_exp"), (_back,))
