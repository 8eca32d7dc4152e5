"""Special functions that SciPy computes on the host: Bessel, Airy, incomplete gamma and Hurwitz
zeta functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cupola.ir.node import Node
from cupola.ops._build import like, of_real
from cupola.ops.custom import host_function
from cupola.ops.elementwise import eq, exp, log, neg, sign, where
from cupola.ops.gamma import lgamma
from cupola.ops.linalg import on_host


def _scipy(name: str, part: int | None = None) -> Callable[..., Any]:
    """SciPy's function of that name, or one of its several results."""

    def compute(*xs: Any) -> Any:
        from scipy import special

        narrow = xs[-1].dtype.itemsize < 4
        out = getattr(special, name)(*(x.astype(np.float32) if narrow else x for x in xs))
        return (out if part is None else out[part]).astype(xs[-1].dtype)

    return on_host(compute)


_same = of_real("a special function", lambda *xs: (xs[-1].shape, xs[-1].dtype))


def _half_at_0(x: Node, slope: Node) -> Node:
    """The limit of a slope that divides by x."""
    return where(eq(x, like(x, 0)), like(x, 0.5), slope)


def _not_0(x: Node) -> Node:
    """What a slope divides by where it is used."""
    return where(eq(x, like(x, 0)), like(x, 1), x)


# Modified Bessel functions of the first kind; the e forms are scaled by exp(-|x|).
i0 = host_function("i0", _scipy("i0"), _same, (lambda g, y, x: g * i1(x),))
i0e = host_function("i0e", _scipy("i0e"), _same, (lambda g, y, x: g * (i1e(x) - sign(x) * y),))
i1 = host_function(
    "i1", _scipy("i1"), _same, (lambda g, y, x: g * _half_at_0(x, i0(x) - y / _not_0(x)),)
)
i1e = host_function(
    "i1e",
    _scipy("i1e"),
    _same,
    (lambda g, y, x: g * _half_at_0(x, i0e(x) - y * (sign(x) + like(x, 1) / _not_0(x))),),
)


# The standard normal distribution: inverse and logarithm of its distribution function.
ndtri = host_function(
    "ndtri",
    _scipy("ndtri"),
    _same,
    (lambda g, y, x: g * exp(y * y * 0.5) * math.sqrt(2 * math.pi),),
)
log_ndtr = host_function(
    "log_ndtr",
    _scipy("log_ndtr"),
    _same,
    (lambda g, y, x: g * math.sqrt(2 / math.pi) / erfcx(x * -math.sqrt(0.5)),),
)
erfcx = host_function(
    "erfcx", _scipy("erfcx"), _same, (lambda g, y, x: g * (x * y * 2.0 - 2.0 / math.sqrt(math.pi)),)
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


def _zeta(x: Any, q: Any) -> Any:
    from scipy import special

    return special.zeta(x, q).astype(q.dtype)


# Not differentiable in PyTorch either.
zeta = host_function("zeta", on_host(_zeta), _same)
airy_ai = host_function("airy_ai", _scipy("airy", 0), _same)
bessel_j0 = host_function("bessel_j0", _scipy("j0"), _same)
bessel_j1 = host_function("bessel_j1", _scipy("j1"), _same)
bessel_y0 = host_function("bessel_y0", _scipy("y0"), _same)
bessel_y1 = host_function("bessel_y1", _scipy("y1"), _same)
modified_bessel_k0 = host_function("modified_bessel_k0", _scipy("k0"), _same)
modified_bessel_k1 = host_function("modified_bessel_k1", _scipy("k1"), _same)
scaled_modified_bessel_k0 = host_function("scaled_modified_bessel_k0", _scipy("k0e"), _same)
scaled_modified_bessel_k1 = host_function("scaled_modified_bessel_k1", _scipy("k1e"), _same)


def _spherical(x: Any) -> Any:
    wide = x.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        out = np.where(wide == 0, 1.0, np.sin(wide) / wide)
    return np.where(np.isinf(wide), 0.0, out).astype(x.dtype)


spherical_bessel_j0 = host_function("spherical_bessel_j0", on_host(_spherical), _same)
