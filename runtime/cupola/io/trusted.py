"""Classes and functions that the program itself lets checkpoints use (add_safe_globals).

These alone are ever called for a file, because the program said so; a file cannot add to them.
"""

from __future__ import annotations

from typing import Any

from cupola.io.errors import CheckpointError

_trusted: list[Any] = []


def _name(item: Any) -> str:
    """The name under which a pickle asks for an item: its own, or the second of a pair."""
    if isinstance(item, tuple):
        return str(item[1])
    return f"{item.__module__}.{item.__qualname__}"


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Lets files that are read from now on use these classes and functions.

    Instances are made as pickle makes them: `__new__` or a call with arguments from the file, then
    `__setstate__` or new attributes. So add only what does no harm with any arguments.

    Args:
        safe_globals: classes and functions, or pairs of one and the name that files call it by.

    Raises:
        TypeError: an item that is neither.

    torch.serialization.add_safe_globals.
    """
    for item in safe_globals:
        pair = isinstance(item, tuple)
        thing = item[0] if pair and item else item
        if not callable(thing) or (pair and (len(item) != 2 or not isinstance(item[1], str))):
            raise TypeError(
                "Expected each item in safe_globals to be a class, a function, or a pair of one "
                f"and its name, got {item!r}"
            )
        if item not in _trusted:
            _trusted.append(item)


def clear_safe_globals() -> None:
    """Takes back what `add_safe_globals` allowed (torch.serialization.clear_safe_globals)."""
    _trusted.clear()


def get_safe_globals() -> list[Any]:
    """Returns what files may use by `add_safe_globals` (torch.serialization.get_safe_globals)."""
    return list(_trusted)


class safe_globals:
    """Lets files use classes and functions inside a ``with`` block; see `add_safe_globals`.

    torch.serialization.safe_globals.
    """

    def __init__(self, safe_globals: list[Any]) -> None:
        self.safe_globals = safe_globals
        self._before: list[Any] = []

    def __enter__(self) -> None:
        self._before = get_safe_globals()
        add_safe_globals(self.safe_globals)

    def __exit__(self, *exc: object) -> None:
        _trusted[:] = self._before


def found(full: str) -> Any | None:
    """Returns the trusted thing that a pickle calls by this name, or None."""
    for item in _trusted:
        if _name(item) == full:
            return item[0] if isinstance(item, tuple) else item
    return None


def is_trusted(value: Any) -> bool:
    """Tells whether the program allowed this class or function."""
    return any((item[0] if isinstance(item, tuple) else item) is value for item in _trusted)


def give_state(instance: Any, state: Any) -> None:
    """Gives an instance of a trusted class its state, as pickle does."""
    if hasattr(instance, "__setstate__"):
        instance.__setstate__(state)
        return
    attributes, slots = state if type(state) is tuple and len(state) == 2 else (state, None)
    for values in (attributes, slots):
        if values is not None and type(values) is not dict:
            raise CheckpointError(f"the state of a {type(instance).__name__} is no dictionary")
    if attributes:
        vars(instance).update(attributes)
    for name, value in (slots or {}).items():
        setattr(instance, name, value)
