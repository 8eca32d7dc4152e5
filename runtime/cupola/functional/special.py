"""Special functions that also have a name in torch itself; the others are in cupola.special."""

from __future__ import annotations

import math
from typing import Any

from cupola.functional._convert import operands, to_float
from cupola.functional._register import only_tensors, operator
from cupola.ops import gamma
from cupola.ops import special as prim
from cupola.tensor import Tensor, wrap


@operator(out=True, inplace=True)
def i0(input: Tensor) -> Tensor:
    """Modified Bessel function of the first kind, order 0 (torch.i0)."""
    return wrap(prim.i0(to_float(input)))


@operator(out=True, inplace=True)
def igamma(input: Tensor, other: Tensor) -> Tensor:
    """Regularized lower incomplete gamma function (torch.igamma)."""
    only_tensors("igamma", input=input, other=other)
    return wrap(prim.gammainc(*operands(input, other)))


@operator(out=True, inplace=True)
def igammac(input: Tensor, other: Tensor) -> Tensor:
    """Regularized upper incomplete gamma function (torch.igammac)."""
    only_tensors("igammac", input=input, other=other)
    return wrap(prim.gammaincc(*operands(input, other)))


def derivative_of_digamma(n: int, input: Tensor) -> Tensor:
    """The n-th derivative of digamma (torch.polygamma).

    Raises:
        RuntimeError: n is negative.
    """
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return input.digamma() if n == 0 else wrap(gamma.polygamma(to_float(input), n=n))


polygamma = operator(name="polygamma", method=False, out=True)(derivative_of_digamma)


@operator(name="polygamma", public=False, inplace=True)
def _polygamma(self: Tensor, n: int) -> Tensor:
    """The n-th derivative of digamma (Tensor.polygamma)."""
    return derivative_of_digamma(n, self)


@operator(out=True, inplace=True)
def mvlgamma(input: Tensor, p: int) -> Tensor:
    """Logarithm of the multivariate gamma function of dimension p (torch.mvlgamma).

    Raises:
        RuntimeError: p is below 1.
    """
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    x = wrap(to_float(input))
    total: Any = x.lgamma()
    for j in range(1, p):
        total = total + (x - j / 2).lgamma()
    return total + p * (p - 1) / 4 * math.log(math.pi)
