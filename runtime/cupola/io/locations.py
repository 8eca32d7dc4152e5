"""map_location: where the storages of a checkpoint go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cupola.io.storage import Storage

Locate = Callable[[Storage, str], str]


def locator(map_location: Any) -> Locate:
    """A function of (storage, saved location) that names the device, from PyTorch's argument.

    `map_location` is None (where it was saved), a device or its name, a mapping of names, or a
    function of (storage, name) that returns a storage, or None for the saved place.

    Raises:
        TypeError: it is something else, or the function returns something else.
    """
    if map_location is None:
        return lambda storage, saved: saved
    if isinstance(map_location, Mapping) and all(map(_is_device, map_location.values())):
        places = {_name(old): _name(new) for old, new in map_location.items()}
        return lambda storage, saved: places.get(saved, saved)
    if callable(map_location) and not _is_device(map_location):
        return lambda storage, saved: _asked(map_location, storage, saved)
    if not _is_device(map_location):
        raise TypeError(
            "map_location must be None, a device or its name, a mapping of these or a function of "
            f"(storage, name), not {type(map_location).__name__}"
        )
    device = _name(map_location)
    return lambda storage, saved: device


def _asked(function: Callable[[Storage, str], Any], storage: Storage, saved: str) -> str:
    answer = function(storage, saved)
    if answer is None:
        return saved
    if not isinstance(answer, Storage):
        raise TypeError(
            "the function given as map_location must return a storage (storage, storage.cpu(), "
            f"storage.cuda(1)) or None, not {type(answer).__name__}"
        )
    return _name(answer.device)


def _is_device(value: Any) -> bool:
    return isinstance(value, (str, bytes)) or hasattr(value, "type")


def _name(device: Any) -> str:
    if isinstance(device, bytes):
        return device.decode("ascii")
    return str(device)
