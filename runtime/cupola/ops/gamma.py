"""Error functions, the gamma function's logarithm and its derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cupola.ir.node import Node
from cupola.ir.op import Primitive
from cupola.ops._build import computed_in_float32
from cupola.ops.elementwise import exp, neg, unary

_TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)


def _special_function(xp: Any, name: str) -> Any:
    if xp is np:
        from scipy import special  # 0.2 s to import, so not before it is needed

        return getattr(special, name)
    import cupyx.scipy.special as device_special

    return getattr(device_special, name)


erf = unary(
    "erf",
    lambda xp, x: _special_function(xp, "erf")(x),
    lambda g, y, x: g * exp(neg(x * x)) * _TWO_OVER_SQRT_PI,
    cost=16,
    of_complex=False,
)
erfc = unary(
    "erfc",
    lambda xp, x: _special_function(xp, "erfc")(x),
    lambda g, y, x: g * exp(neg(x * x)) * -_TWO_OVER_SQRT_PI,
    cost=30,
    of_complex=False,
)
erfinv = unary(
    "erfinv",
    lambda xp, x: _special_function(xp, "erfinv")(x),
    lambda g, y, x: g * exp(y * y) * (1.0 / _TWO_OVER_SQRT_PI),
    machine=False,
    of_complex=False,
)
lgamma = unary(
    "lgamma",
    lambda xp, x: _special_function(xp, "gammaln")(x),
    lambda g, y, x: g * digamma(x),
    cost=40,
    of_complex=False,
)


def _digamma_reference(xp: Any, x: Any) -> Any:
    """Reflected at 0 in the operand's own precision, as PyTorch does: near the negative zeros the
    digits that this loses are its digits.
    """
    digamma_of = _special_function(xp, "digamma")
    below = x < 0
    fraction = (x - xp.trunc(x)).astype(xp.float64)
    cotangent = np.pi / xp.tan(np.pi * xp.where(below, fraction, 0.5))
    out = digamma_of(xp.where(below, 1 - x, x))
    out = xp.where(below, out.astype(xp.float64) - cotangent, out)
    out = xp.where(below & (fraction == 0), xp.nan, out)
    return xp.where(x == 0, xp.copysign(xp.asarray(np.inf, x.dtype), -x), out).astype(x.dtype)


digamma = unary(
    "digamma",
    _digamma_reference,
    lambda g, y, x: g * polygamma(x, n=1),
    machine=False,
    of_complex=False,
)


def _polygamma_infer(x: Node, n: int) -> Any:
    return x.shape, x.dtype


def _polygamma_reference(xp: Any, x: Any, n: int) -> Any:
    """Order 1 is reflected at one half in the operand's own precision: see digamma."""
    polygamma_of = _special_function(xp, "polygamma")
    if n != 1:
        return polygamma_of(n, x).astype(x.dtype)
    below = x < 0.5
    sine = xp.sin(xp.asarray(np.pi, x.dtype) * xp.where(below, x, 0.5))
    out = polygamma_of(1, xp.where(below, 1 - x, x))
    return xp.where(below, np.pi**2 / (sine * sine) - out, out).astype(x.dtype)


polygamma = Primitive(
    "polygamma",
    "elementwise",
    _polygamma_infer,
    computed_in_float32(_polygamma_reference),
    (lambda g, y, x, n: g * polygamma(x, n=n + 1),),
).register()
