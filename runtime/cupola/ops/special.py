"""Special functions that SciPy computes on the host: Bessel functions, incomplete gamma
functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.ir.node import Node
from cupola.ops._build import like
from cupola.ops.custom import host_function
from cupola.ops.elementwise import exp, lgamma, log, neg, sign
from cupola.ops.linalg import on_host


def _scipy(name: str) -> Callable[..., Any]:
    def compute(*xs: Any) -> Any:
        from scipy import special

        return getattr(special, name)(*xs).astype(xs[-1].dtype)

    return on_host(compute)


def _same(*xs: Node) -> Any:
    return xs[-1].shape, xs[-1].dtype


# Modified Bessel functions of the first kind; the e forms are scaled by exp(-|x|).
i0 = host_function("i0", _scipy("i0"), _same, (lambda g, y, x: g * i1(x),))
i0e = host_function("i0e", _scipy("i0e"), _same, (lambda g, y, x: g * (i1e(x) - sign(x) * y),))
i1 = host_function("i1", _scipy("i1"), _same, (lambda g, y, x: g * (i0(x) - y / x),))
i1e = host_function(
    "i1e", _scipy("i1e"), _same, (lambda g, y, x: g * (i0e(x) - y * (sign(x) + like(x, 1) / x)),)
)


def _density(a: Node, x: Node) -> Node:
    return exp((a - 1.0) * log(x) - x - lgamma(a))


# Regularized incomplete gamma functions; gradients flow to x only, as in PyTorch.
gammainc = host_function(
    "gammainc", _scipy("gammainc"), _same, (None, lambda g, y, a, x: g * _density(a, x))
)
gammaincc = host_function(
    "gammaincc", _scipy("gammaincc"), _same, (None, lambda g, y, a, x: neg(g * _density(a, x)))
)
