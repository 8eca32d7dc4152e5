"""Calling a module with other tensors in place of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from cupola.tensor import Tensor

__all__ = ["functional_call"]


def _places(module: Any) -> dict[str, tuple[dict, str]]:
    """The registry and name behind each dotted name of a parameter or buffer."""
    places = {}
    for path, submodule in module.named_modules(remove_duplicate=False):
        for members in (submodule._parameters, submodule._buffers):
            for name in members:
                places[f"{path}.{name}" if path else name] = (members, name)
    return places


def _at(place: tuple[dict, str]) -> Any:
    return place[0][place[1]]


@contextlib.contextmanager
def _swapped(
    module: Any, tensors: dict[str, Tensor], tie_weights: bool, strict: bool
) -> Iterator[None]:
    places = _places(module)
    unknown = [name for name in tensors if name not in places]
    missing = [name for name, (d, n) in places.items() if name not in tensors and d[n] is not None]
    for value in tensors.values():
        if not isinstance(value, Tensor) and value is not None:
            raise TypeError(f"{value} is not an instance of torch.Tensor")
    if unknown and strict:
        raise RuntimeError(f"Unexpected key(s): {', '.join(unknown)}.")
    if strict and missing:
        raise RuntimeError(f"Missing key(s): {', '.join(missing)}.")
    wanted = {name: value for name, value in tensors.items() if name in places}
    if tie_weights:
        own = {id(places[name][0][places[name][1]]): value for name, value in wanted.items()}
        for name, value in list(wanted.items()):
            if own[id(places[name][0][places[name][1]])] is not value:
                shared = [n for n in wanted if _at(places[n]) is _at(places[name])]
                raise ValueError(
                    f"functional_call got multiple values for keys {sorted(shared)}, which are "
                    "tied. Consider using tie_weights=False"
                )
        for name, (members, key) in places.items():
            if name not in wanted and id(members[key]) in own:
                wanted[name] = own[id(members[key])]
    saved = []
    try:
        for name, value in wanted.items():
            members, key = places[name]
            saved.append((members, key, members[key]))
            members[key] = value
        yield
    finally:
        for (members, key, old), name in zip(saved, wanted, strict=False):
            # Buffers that the call rebound are handed back through the given dictionary.
            if name in tensors and members[key] is not wanted[name]:
                tensors[name] = members[key]
            members[key] = old


def functional_call(
    module: Any,
    parameters_and_buffers: Any,
    args: Any = None,
    kwargs: dict | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with the given tensors for its parameters and buffers."""
    if isinstance(parameters_and_buffers, (tuple, list)):
        merged: dict[str, Tensor] = {}
        for part in parameters_and_buffers:
            if merged.keys() & part.keys():
                raise ValueError(
                    f"{sorted(merged.keys() & part.keys())} appeared in multiple dictionaries"
                )
            merged.update(part)
        parameters_and_buffers = merged
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with _swapped(module, parameters_and_buffers, tie_weights, strict):
        return module(*args, **(kwargs or {}))
