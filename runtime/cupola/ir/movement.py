"""How movement operators act on index maps: from coordinates in the result to coordinates in the
operand.

The primitives themselves are declared in ``ops/movement.py``; this table is the only other place
that knows them.
"""

from __future__ import annotations

from typing import Any

from cupola.ir.affine import Affine, Coords, reshape, zero

Guard = tuple[Affine, int]  # present where 0 <= affine < bound


def pull(
    name: str,
    attrs: dict[str, Any],
    coords: Coords,
    shape: tuple[int, ...],
    src: tuple[int, ...],
    sizes: tuple[int, ...],
) -> tuple[Coords, tuple[Guard, ...]]:
    """Coordinates in the operand (shape ``src``) of what lies at ``coords`` in the result (shape
    ``shape``).

    Raises:
        Split, NotAffine: a reshape cannot be followed without splitting a loop, or at all.
    """
    loops = len(sizes)
    if name == "expand":
        return tuple(
            c if n != 1 or m == 1 else zero(loops)
            for c, n, m in zip(coords, src, shape, strict=True)
        ), ()
    if name == "reshape":
        return reshape(coords, shape, src, sizes), ()
    if name == "permute":
        out = list(coords)
        for k, d in enumerate(attrs["dims"]):
            out[d] = coords[k]
        return tuple(out), ()
    if name == "slice":
        steps = zip(coords, attrs["steps"], attrs["starts"], strict=True)
        return tuple(c.scaled(step, start) for c, step, start in steps), ()
    if name == "flip":
        flipped = set(attrs["dims"])
        return tuple(
            c.scaled(-1, n - 1) if d in flipped else c
            for d, (c, n) in enumerate(zip(coords, src, strict=True))
        ), ()
    if name == "pad":
        moved = []
        guards = []
        for c, n, (low, high) in zip(coords, src, attrs["pairs"], strict=True):
            c = c.scaled(1, -low)
            moved.append(c)
            if low or high:
                guards.append((c, n))
        return tuple(moved), tuple(guards)
    if name == "window":
        k = len(attrs["size"])
        lead = len(src) - k
        places, taps = coords[lead : lead + k], coords[lead + k :]
        space = tuple(
            p.scaled(s).plus(t.scaled(d))
            for p, t, s, d in zip(places, taps, attrs["stride"], attrs["dilation"], strict=True)
        )
        return coords[:lead] + space, ()
    raise KeyError(name)
