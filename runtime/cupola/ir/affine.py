"""Affine index maps: where a loop nest reads, through any chain of movement operators."""

from __future__ import annotations

import math
from typing import NamedTuple


class Split(Exception):
    """Raised when a loop must be split in two for an index to stay affine: ``loop`` into (size /
    minor, minor).
    """

    def __init__(self, loop: int, minor: int) -> None:
        super().__init__(loop, minor)
        self.loop = loop
        self.minor = minor


class NotAffine(Exception):
    """Raised when no split makes an index affine: the operand has to be stored first."""


class Affine(NamedTuple):
    """``const + sum(coefs[i] * loop[i])``."""

    coefs: tuple[int, ...]
    const: int

    def scaled(self, factor: int, offset: int = 0) -> Affine:
        return Affine(tuple(c * factor for c in self.coefs), self.const * factor + offset)

    def plus(self, other: Affine) -> Affine:
        return Affine(
            tuple(a + b for a, b in zip(self.coefs, other.coefs, strict=True)),
            self.const + other.const,
        )


Coords = tuple[Affine, ...]


def zero(loops: int) -> Affine:
    """The index that is always 0."""
    return Affine((0,) * loops, 0)


def flatten(coords: Coords, shape: tuple[int, ...], loops: int) -> Affine:
    """Row-major position of ``coords`` in ``shape``."""
    out, step = zero(loops), 1
    for c, n in zip(reversed(coords), reversed(shape), strict=True):
        if n != 1:
            out = out.plus(c.scaled(step))
        step *= n
    return out


def _unflatten_group(flat: Affine, shape: list[int], sizes: tuple[int, ...]) -> list[Affine]:
    """Splits one flat index over ``shape`` (row-major) by assigning every loop term to one
    dimension.
    """
    loops = len(sizes)
    if len(shape) == 1:
        return [flat]
    strides = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    strides.reverse()
    if any(c < 0 for c in flat.coefs) or flat.const < 0:
        raise NotAffine
    out = [[0] * loops for _ in shape]
    consts = []
    rest = flat.const
    for s in strides:
        consts.append(rest // s)
        rest %= s
    top = list(consts)
    for loop, (coef, size) in enumerate(zip(flat.coefs, sizes, strict=True)):
        if coef == 0 or size == 1:
            continue
        for j, s in enumerate(strides):
            if coef % s == 0 and coef >= s:
                limit = s * shape[j]
                reach = coef * (size - 1)
                if reach >= limit:
                    # The loop runs past this dimension: it covers outer dimensions too.
                    if limit % coef or size % (limit // coef) or limit == coef:
                        raise NotAffine
                    raise Split(loop, limit // coef)
                out[j][loop] = coef // s
                top[j] += (coef // s) * (size - 1)
                break
        else:
            raise NotAffine
    if any(t >= n for t, n in zip(top, shape, strict=True)):
        raise NotAffine  # carries between dimensions
    return [Affine(tuple(c), k) for c, k in zip(out, consts, strict=True)]


def reshape(
    coords: Coords, old: tuple[int, ...], new: tuple[int, ...], sizes: tuple[int, ...]
) -> Coords:
    """Coordinates in ``new`` of the element at ``coords`` in ``old`` (both row-major over the same
    elements).

    Raises:
        Split, NotAffine: see there.
    """
    loops = len(sizes)
    if math.prod(old) == 0:
        return tuple(zero(loops) for _ in new)
    out: list[Affine] = []
    i = j = 0
    while i < len(old) or j < len(new):
        a, b = i, j
        p = q = 1
        if i < len(old):
            p, i = old[i], i + 1
        if j < len(new):
            q, j = new[j], j + 1
        while p != q:
            if p < q:
                p, i = p * old[i], i + 1
            else:
                q, j = q * new[j], j + 1
        group = list(new[b:j])
        if not group:
            continue
        flat = flatten(coords[a:i], old[a:i], loops)
        wide = [n for n in group if n != 1]
        parts = iter(_unflatten_group(flat, wide, sizes) if wide else [])
        out.extend(next(parts) if n != 1 else zero(loops) for n in group)
    return tuple(out)
