"""Special functions (torch.special)."""

from __future__ import annotations

import math
from typing import Any

from cupola import functional
from cupola.functional._convert import float_operands, to_float
from cupola.functional._register import some_tensor, with_out
from cupola.ops import polynomial
from cupola.ops import special as prim
from cupola.tensor import Tensor, protocol, wrap

_PUBLIC = functional.PUBLIC
for _own, _theirs in {
    "digamma": "digamma",
    "erf": "erf",
    "erfc": "erfc",
    "erfinv": "erfinv",
    "exp2": "exp2",
    "expit": "sigmoid",
    "expm1": "expm1",
    "gammainc": "igamma",
    "gammaincc": "igammac",
    "gammaln": "lgamma",
    "i0": "i0",
    "log1p": "log1p",
    "log_softmax": "log_softmax",
    "logit": "logit",
    "logsumexp": "logsumexp",
    "multigammaln": "mvlgamma",
    "polygamma": "polygamma",
    "psi": "digamma",
    "round": "round",
    "sinc": "sinc",
    "softmax": "softmax",
    "xlogy": "xlogy",
}.items():
    globals()[_own] = _PUBLIC[_theirs]


def i0e(input: Tensor) -> Tensor:
    """i0 times exp(-|x|) (torch.special.i0e)."""
    return wrap(prim.i0e(to_float(input)))


def i1(input: Tensor) -> Tensor:
    """Modified Bessel function of order 1 (torch.special.i1)."""
    return wrap(prim.i1(to_float(input)))


def i1e(input: Tensor) -> Tensor:
    """i1 times exp(-|x|) (torch.special.i1e)."""
    return wrap(prim.i1e(to_float(input)))


def entr(input: Tensor) -> Tensor:
    """-x log(x); 0 at 0, minus infinity below (torch.special.entr)."""
    return (-_PUBLIC["xlogy"](input, input)).masked_fill(input < 0, -math.inf)


def xlog1py(input: Any, other: Any) -> Tensor:
    """x log(1 + y), 0 where x is 0, NaN where y is (torch.special.xlog1py)."""
    some_tensor("special_xlog1py", input, other)
    x, y = (wrap(v) for v in float_operands(input, other))
    unbounded = (y <= -1) | (y == math.inf)
    return x * y.log1p().masked_fill((x == 0) & unbounded, 0)


def ndtr(input: Tensor) -> Tensor:
    """Distribution function of the standard normal (torch.special.ndtr)."""
    return (wrap(to_float(input)) * -(0.5**0.5)).erfc() * 0.5


def ndtri(input: Tensor) -> Tensor:
    """Inverse of ndtr (torch.special.ndtri)."""
    return wrap(prim.ndtri(to_float(input)))


def erfcx(input: Tensor) -> Tensor:
    """erfc(x) exp(x²) (torch.special.erfcx)."""
    return wrap(prim.erfcx(to_float(input)))


def log_ndtr(input: Tensor) -> Tensor:
    """Logarithm of ndtr, accurate far below 0 (torch.special.log_ndtr)."""
    return wrap(prim.log_ndtr(to_float(input)))


def _of_one(name: str, what: str, primitive: Any) -> Any:
    """A public function of one tensor, integers converted, without a gradient."""

    def function(input: Tensor) -> Tensor:
        return wrap(primitive(to_float(input)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{what} (torch.special.{name})."
    return with_out(function)


def _of_two(name: str, what: str, primitive: Any) -> Any:
    """A public function of two tensors or numbers, integers converted, without a gradient."""

    def function(input: Any, other: Any) -> Tensor:
        some_tensor(f"special_{name}", input, other)
        return wrap(primitive(*float_operands(input, other)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{what} (torch.special.{name})."
    return with_out(function)


for _own, (_what, _primitive) in {
    "airy_ai": ("Airy function Ai", prim.airy_ai),
    "bessel_j0": ("Bessel function of the first kind, order 0", prim.bessel_j0),
    "bessel_j1": ("Bessel function of the first kind, order 1", prim.bessel_j1),
    "bessel_y0": ("Bessel function of the second kind, order 0", prim.bessel_y0),
    "bessel_y1": ("Bessel function of the second kind, order 1", prim.bessel_y1),
    "modified_bessel_i0": ("Modified Bessel function of the first kind, order 0", prim.i0),
    "modified_bessel_i1": ("Modified Bessel function of the first kind, order 1", prim.i1),
    "modified_bessel_k0": (
        "Modified Bessel function of the second kind, order 0",
        prim.modified_bessel_k0,
    ),
    "modified_bessel_k1": (
        "Modified Bessel function of the second kind, order 1",
        prim.modified_bessel_k1,
    ),
    "scaled_modified_bessel_k0": (
        "modified_bessel_k0 times exp(x)",
        prim.scaled_modified_bessel_k0,
    ),
    "scaled_modified_bessel_k1": (
        "modified_bessel_k1 times exp(x)",
        prim.scaled_modified_bessel_k1,
    ),
    "spherical_bessel_j0": ("sin(x) / x, 1 at 0", prim.spherical_bessel_j0),
}.items():
    globals()[_own] = _of_one(_own, _what, _primitive)
zeta = _of_two("zeta", "Hurwitz zeta function of x and q", prim.zeta)
for _own in polynomial.FAMILIES:
    _what = f"{_own.replace('_', ' ')} of degree n at x".capitalize()
    globals()[_own] = _of_two(_own, _what, polynomial.of(_own))
for _own in ("i0e", "i1", "i1e", "entr", "xlog1py", "ndtr", "ndtri", "erfcx", "log_ndtr"):
    globals()[_own] = with_out(globals()[_own])

_HELPERS = ("float_operands", "operands", "some_tensor", "to_float", "with_out", "wrap")
__all__ = sorted(
    k for k, v in globals().items() if callable(v) and k[0].islower() and k not in _HELPERS
)

protocol.publish("special", {name: globals()[name] for name in __all__})
