"""Handles of registered hooks."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any
from weakref import ref

__all__ = ["RemovableHandle"]

_ids = itertools.count()


class RemovableHandle:
    """Removes one hook from the dictionaries that hold it; also a context manager.

    ``hooks_dict`` maps handle ids to hooks. ``extra_dict`` (one dictionary or a list of them) holds
    further entries under the same id, removed together with the hook.
    """

    id: int

    def __init__(self, hooks_dict: Any, *, extra_dict: Any = None) -> None:
        self.hooks_dict_ref = ref(hooks_dict)
        self.id = next(_ids)
        extras = () if extra_dict is None else extra_dict
        if isinstance(extras, dict):
            extras = (extras,)
        self.extra_dict_ref = tuple(ref(extra) for extra in extras)

    def remove(self) -> None:
        """Remove the hook. Removing twice does nothing."""
        for reference in (self.hooks_dict_ref, *self.extra_dict_ref):
            entries = reference()
            if entries is not None:
                entries.pop(self.id, None)

    def __getstate__(self) -> tuple:
        extras = tuple(reference() for reference in self.extra_dict_ref)
        return (self.hooks_dict_ref(), self.id, extras)

    def __setstate__(self, state: tuple) -> None:
        hooks, self.id, extras = state
        self.hooks_dict_ref = ref(OrderedDict() if hooks is None else hooks)
        self.extra_dict_ref = tuple(ref(OrderedDict() if e is None else e) for e in extras)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()
