"""Special functions (torch.special)."""

from __future__ import annotations

import math
from typing import Any

from cupola import functional
from cupola.functional._convert import operands, to_float
from cupola.functional._register import with_out
from cupola.ops import elementwise as ew
from cupola.ops import special as prim
from cupola.tensor import Tensor, wrap

_PUBLIC = functional.PUBLIC
for _own, _theirs in {
    "digamma": "digamma",
    "erf": "erf",
    "erfc": "erfc",
    "erfinv": "erfinv",
    "exp2": "exp2",
    "expit": "sigmoid",
    "expm1": "expm1",
    "gammaln": "lgamma",
    "log1p": "log1p",
    "log_softmax": "log_softmax",
    "logit": "logit",
    "logsumexp": "logsumexp",
    "psi": "digamma",
    "round": "round",
    "sinc": "sinc",
    "softmax": "softmax",
    "xlogy": "xlogy",
}.items():
    globals()[_own] = _PUBLIC[_theirs]


def i0(input: Tensor) -> Tensor:
    """Modified Bessel function of order 0 (torch.special.i0)."""
    return wrap(prim.i0(to_float(input)))


def i0e(input: Tensor) -> Tensor:
    """i0 times exp(-|x|) (torch.special.i0e)."""
    return wrap(prim.i0e(to_float(input)))


def i1(input: Tensor) -> Tensor:
    """Modified Bessel function of order 1 (torch.special.i1)."""
    return wrap(prim.i1(to_float(input)))


def i1e(input: Tensor) -> Tensor:
    """i1 times exp(-|x|) (torch.special.i1e)."""
    return wrap(prim.i1e(to_float(input)))


def gammainc(input: Any, other: Any) -> Tensor:
    """Regularized lower incomplete gamma function (torch.special.gammainc)."""
    return wrap(prim.gammainc(*operands(input, other)))


def gammaincc(input: Any, other: Any) -> Tensor:
    """Regularized upper incomplete gamma function (torch.special.gammaincc)."""
    return wrap(prim.gammaincc(*operands(input, other)))


def polygamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma (torch.special.polygamma).

    Raises:
        RuntimeError: n is negative.
    """
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return input.digamma() if n == 0 else wrap(ew.polygamma(to_float(input), n=n))


def multigammaln(input: Tensor, p: int) -> Tensor:
    """Logarithm of the multivariate gamma function (torch.special.multigammaln)."""
    total: Any = p * (p - 1) / 4 * math.log(math.pi)
    for j in range(p):
        total = total + (input - j / 2).lgamma()
    return total


def entr(input: Tensor) -> Tensor:
    """-x log(x); 0 at 0, minus infinity below (torch.special.entr)."""
    return (-_PUBLIC["xlogy"](input, input)).masked_fill(input < 0, -math.inf)


def xlog1py(input: Any, other: Tensor) -> Tensor:
    """x log(1 + y), 0 where x is 0 (torch.special.xlog1py)."""
    product = input * other.log1p()
    return product.masked_fill((product * 0 + input) == 0, 0)


def ndtr(input: Tensor) -> Tensor:
    """Distribution function of the standard normal (torch.special.ndtr)."""
    return (input * -(0.5**0.5)).erfc() * 0.5


def ndtri(input: Tensor) -> Tensor:
    """Inverse of ndtr (torch.special.ndtri)."""
    return (input * 2 - 1).erfinv() * 2**0.5


def erfcx(input: Tensor) -> Tensor:
    """erfc(x) exp(x²) (torch.special.erfcx)."""
    return input.erfc() * input.square().exp()


def log_ndtr(input: Tensor) -> Tensor:
    """Logarithm of ndtr, accurate far below 0 (torch.special.log_ndtr)."""
    far = input < -5.0
    low = input.where(far, input.new_full((), -5.0))
    square = low.reciprocal().square()
    series = 1 - square * (1 - square * (3 - square * (15 - square * 105)))
    tail = -low.square() / 2 - (-low).log() - 0.5 * math.log(2 * math.pi) + series.log()
    near = ndtr(input.masked_fill(far, 0.0)).log()
    return tail.where(far, near)


for _own in ("i0", "i0e", "i1", "i1e", "gammainc", "gammaincc", "entr", "xlog1py", "ndtr", "ndtri"):
    globals()[_own] = with_out(globals()[_own])

__all__ = sorted(
    k
    for k, v in globals().items()
    if callable(v) and k[0].islower() and k not in ("operands", "to_float", "with_out", "wrap")
)
