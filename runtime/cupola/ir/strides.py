"""Strides of another shape over the same memory."""

from __future__ import annotations

Dims = tuple[int, ...]


def viewed(shape: Dims, strides: Dims, new: Dims) -> Dims | None:
    """Strides with which an array of ``shape`` and ``strides`` has the shape ``new``, or None.

    The elements keep their order; None where no strides give it. Both shapes have the same number
    of elements, which is not 0.
    """
    old = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    out: list[int] = []
    at = 0
    for n in new:
        if n == 1:
            out.append(1)
            continue
        if at == len(old):
            return None
        size, step = old[at]
        while size % n or size < n:  # dimensions that lie one behind the other are one
            if at + 1 == len(old) or step != old[at + 1][0] * old[at + 1][1]:
                return None
            at += 1
            size, step = size * old[at][0], old[at][1]
        rest = size // n
        out.append(step * rest)
        if rest == 1:
            at += 1
        else:
            old[at] = (rest, step)
    return tuple(out)
