"""torch.Size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Size(tuple[int, ...]):
    """The sizes of a tensor (torch.Size): a tuple of int with ``numel``."""

    def __new__(cls, sizes: Sequence[int] = ()) -> Size:
        return super().__new__(cls, sizes)

    def numel(self) -> int:
        """Number of elements."""
        n = 1
        for s in self:
            n *= s
        return n

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, key: Any) -> Any:
        out = super().__getitem__(key)
        return Size(out) if isinstance(key, slice) else out

    def __add__(self, other: Any) -> Any:
        return Size(tuple(self) + tuple(other))

    def __reduce__(self) -> Any:
        return (Size, (tuple(self),))
