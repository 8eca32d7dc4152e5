"""Orthogonal polynomials of a real argument, by their recurrences; no gradients, as in PyTorch.

Recurrences and edge values: Abramowitz and Stegun (1964), chapter 22. The degree is a tensor whose
elements are rounded towards zero; degrees below zero give zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cupola.ir.node import Node
from cupola.ops.custom import host_function
from cupola.ops.linalg import on_host

Rule = Callable[..., Any]


class Family(NamedTuple):
    """How the values of all degrees follow from the argument.

    Attributes:
        first: the polynomial of degree 1 of ``y``.
        step: ``step(y, k, p, q)``: degree ``k`` from the degrees ``k - 2`` (p) and ``k - 1`` (q).
        edge: ``edge(n, positive)`` at y = 1 and y = -1; None: the recurrence holds there too.
        closed: ``closed(n, y)`` inside (-1, 1), for degrees above ``above``.
        shifted: ``y`` is 2 x - 1 instead of x.
        limit: degrees from here on overflow and give NaN: one number for float32, one for float64.
    """

    first: Rule
    step: Rule
    edge: Rule | None = None
    closed: Rule | None = None
    above: int = 0
    shifted: bool = False
    limit: tuple[int, int] | None = None


def _sign(n: Any, positive: Any) -> Any:
    return np.where(positive | (n % 2 == 0), 1, -1)


def _chebyshev_t(n: Any, y: Any) -> Any:
    return np.cos(n * np.arccos(y))


def _chebyshev_u(n: Any, y: Any) -> Any:
    angle = np.arccos(y)
    sine = np.sin(angle)
    return np.where(
        sine != 0, np.sin((n + 1) * angle) / sine, (n + 1) * np.cos((n + 1) * angle) / y
    )


def _chebyshev_v(n: Any, y: Any) -> Any:
    angle, half = np.arccos(y), y.dtype.type(0.5)
    edge = np.where(n % 2 == 0, 2 * n + 1, -(2 * n + 1))
    inner = np.cos((n + half) * angle) / np.cos(angle * half)
    return np.where(np.sin(angle * half) != 1, inner, edge)


def _chebyshev_w(n: Any, y: Any) -> Any:
    angle, half = np.arccos(y), y.dtype.type(0.5)
    edge = np.where(y > 0, 2 * n + 1, np.where(n % 2 == 0, 1, -1))
    inner = np.sin((n + half) * angle) / np.sin(angle * half)
    return np.where(np.cos(angle * half) != 1, inner, edge)


def _less(a: Any, q: Any, c: Any) -> Any:
    """a q - c with one rounding, which PyTorch's compiler makes of it in float32."""
    return (a.astype(np.float64) * q - c).astype(a.dtype)


def _three_terms(y: Any, k: Any, p: Any, q: Any) -> Any:
    return _less(y + y, q, p)


_KINDS = {
    "t": (lambda y: y, lambda n, up: _sign(n, up), _chebyshev_t, (6, 6)),
    "u": (lambda y: y + y, lambda n, up: (n + 1) * _sign(n, up), _chebyshev_u, (8, 6)),
    "v": (
        lambda y: y + y - 1,
        lambda n, up: np.where(up, 1, (2 * n + 1) * _sign(n, up)),
        _chebyshev_v,
        (8, 6),
    ),
    "w": (
        lambda y: y + y + 1,
        lambda n, up: np.where(up, 2 * n + 1, _sign(n, up)),
        _chebyshev_w,
        (8, 4),
    ),
}
FAMILIES: dict[str, Family] = {
    "hermite_polynomial_h": Family(
        lambda x: x + x, lambda x, k, p, q: _less(x + x, q, (2 * k - 2) * p), limit=(128, 512)
    ),
    "hermite_polynomial_he": Family(
        lambda x: x, lambda x, k, p, q: _less(x, q, (k - 1) * p), limit=(128, 512)
    ),
    "laguerre_polynomial_l": Family(
        lambda x: 1 - x, lambda x, k, p, q: ((2 * k - 2 + (1 - x)) * q - (k - 1) * p) / k
    ),
    "legendre_polynomial_p": Family(
        lambda x: x, lambda x, k, p, q: ((2 * k - 1) * x * q - (k - 1) * p) / k, _sign
    ),
}
for _kind, (_first, _edge, _closed, _above) in _KINDS.items():
    for _shifted in (False, True):
        _name = f"{'shifted_' if _shifted else ''}chebyshev_polynomial_{_kind}"
        FAMILIES[_name] = Family(_first, _three_terms, _edge, _closed, _above[_shifted], _shifted)


def _evaluate(x: Any, n: Any, family: str) -> Any:
    rules = FAMILIES[family]
    kind = x.dtype
    wide = x.astype(np.float32) if kind.itemsize < 4 else x
    with np.errstate(all="ignore"):
        degree = np.trunc(n.astype(np.float64))
        degree = np.nan_to_num(degree, nan=-1.0, posinf=2.0**62, neginf=-1.0).astype(np.int64)
        y = wide + wide - 1 if rules.shifted else wide
        out = _values(rules, y, degree)
    return out.astype(kind)


def _values(rules: Family, y: Any, n: Any) -> Any:
    out = np.where(n < 0, 0, 1).astype(y.dtype)
    real = y.dtype.type
    done = n <= 0
    if rules.edge is not None:
        at_edge = np.abs(y) == 1
        out = np.where(at_edge & (n >= 0), rules.edge(n, y > 0), out).astype(y.dtype)
        done |= at_edge
    if rules.closed is not None:
        inside = (np.abs(y) < 1) & (n > rules.above)
        out = np.where(inside, rules.closed(n.astype(y.dtype), y), out).astype(y.dtype)
        done |= inside
    if rules.limit is not None:
        beyond = n > rules.limit[y.dtype.itemsize == 8]
        out[beyond] = np.nan
        done |= beyond
    p, q = np.ones_like(y), np.asarray(rules.first(y), y.dtype)
    k = 1
    while True:
        last = ~done & ((n == k) | np.isnan(q))
        out[last] = q[last]
        done |= last
        if done.all():
            return out
        k += 1
        p, q = q, np.asarray(rules.step(y, real(k), p, q), y.dtype)


# The polynomial of the degree that ``n`` names, elementwise.
polynomial = host_function(
    "polynomial", on_host(_evaluate), lambda x, n, family: (x.shape, x.dtype)
)


def of(family: str) -> Callable[[Node, Node], Node]:
    """``f(x, n)`` of a family, by PyTorch's name of it."""
    return lambda x, n: polynomial(x, n, family=family)
