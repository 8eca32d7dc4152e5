"""The loop nest of a kernel while it is being lowered."""

from __future__ import annotations

from cupola.ir.affine import Affine


class Loops:
    """Which loops make up each dimension of the rows (outer) and of the reduced space (inner)."""

    def __init__(self, outer: tuple[int, ...], inner: tuple[int, ...]) -> None:
        self.dims = [[n] for n in outer] + [[n] for n in inner]
        self.split_at = len(outer)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple([n for parts in self.dims for n in parts])

    @property
    def outer_count(self) -> int:
        return sum(len(parts) for parts in self.dims[: self.split_at])

    def split(self, loop: int, minor: int) -> None:
        """Replaces a loop by a major and a minor one."""
        for parts in self.dims:
            if loop < len(parts):
                parts[loop : loop + 1] = [parts[loop] // minor, minor]
                return
            loop -= len(parts)
        raise IndexError(loop)

    def coords(self) -> list[Affine]:
        """The index of every dimension as an affine function of the loops."""
        total = sum(len(parts) for parts in self.dims)
        out = []
        position = 0
        for parts in self.dims:
            coefs = [0] * total
            step = 1
            for k in range(len(parts) - 1, -1, -1):
                coefs[position + k] = step if parts[k] != 1 else 0
                step *= parts[k]
            position += len(parts)
            out.append(Affine(tuple(coefs), 0))
        return out
