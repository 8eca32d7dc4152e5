"""Where a value lives (torch.device)."""

from __future__ import annotations

from typing import Any

_TYPES = ("cpu", "cuda", "meta")
# One of several processes sees one GPU, its own: whatever number a program writes, it is meant.
one_gpu = False


class device:
    """A device type with an optional index: ``device("cuda", 1)``, ``device("cuda:1")``,
    ``device(0)``.

    Attributes:
        type: ``cpu``, ``cuda`` or ``meta``.
        index: number of the device, or None for the current one.

    Raises:
        RuntimeError: the text names no device type that cupola has.
    """

    __slots__ = ("index", "type")
    type: str
    index: int | None

    def __new__(cls, spec: Any = None, index: int | None = None, *, type: Any = None) -> device:
        if type is not None:
            spec = type
        if isinstance(spec, device):
            return spec
        if isinstance(spec, int):
            kind, number = "cuda", spec
        else:
            kind, _, tail = str(spec).partition(":")
            if kind not in _TYPES or (tail and not tail.isdigit()) or (tail and index is not None):
                raise RuntimeError(
                    f"Expected one of {', '.join(_TYPES)} device type at start of device string: "
                    f"{spec}"
                )
            number = int(tail) if tail else index  # type: ignore[assignment]
        if one_gpu and kind == "cuda" and number:
            number = 0
        key = (kind, number)
        found = _interned.get(key)
        if found is None:
            found = object.__new__(cls)
            object.__setattr__(found, "type", kind)
            object.__setattr__(found, "index", number)
            _interned[key] = found
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"attribute '{name}' of 'cupola.device' objects is not writable")

    def __repr__(self) -> str:
        return f"device(type='{self.type}'" + (
            f", index={self.index})" if self.index is not None else ")"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (device, (self.type, self.index))

    def __enter__(self) -> device:
        default_stack.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        default_stack.pop()


_interned: dict[tuple[str, int | None], device] = {}
CPU = device("cpu")
default_stack: list[device] = [CPU]


def resolve(spec: Any) -> device:
    """The concrete device that a user's ``device=`` argument means (None: the default device)."""
    found = default_stack[-1] if spec is None else device(spec)
    if found.type == "cuda" and found.index is None:
        return device("cuda", 0)
    if found.type == "cpu" and found.index is not None:
        return CPU
    return found
