"""Hooks on the tensors that an ``autograd.Function`` saves for its backward pass.

Built-in operators save nothing: what a gradient rule reads is a node of the graph.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

Pair = tuple[Callable[[Any], Any], Callable[[Any], Any]]


class _Saving(threading.local):
    """The hooks in force, the innermost last, and why there must be none."""

    hooks: tuple[Pair, ...] = ()
    refused: str | None = None


saving = _Saving()


class saved_tensors_hooks:
    """What ``pack_hook`` returns is kept in place of a saved tensor, and ``unpack_hook`` makes it a
    tensor again (torch.autograd.graph.saved_tensors_hooks).

    Called for ``save_for_backward`` of ``autograd.Function``; built-in operators save nothing here.

    Raises:
        RuntimeError: inside ``disable_saved_tensors_hooks``.
    """

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        self.pair = (pack_hook, unpack_hook)

    def __enter__(self) -> None:
        if saving.refused is not None:
            raise RuntimeError(saving.refused)
        saving.hooks = (*saving.hooks, self.pair)

    def __exit__(self, *exc: object) -> None:
        saving.hooks = saving.hooks[:-1]


class disable_saved_tensors_hooks:
    """Inside, entering ``saved_tensors_hooks`` is an error with this message
    (torch.autograd.graph.disable_saved_tensors_hooks).
    """

    def __init__(self, error_message: str) -> None:
        self.message = error_message

    def __enter__(self) -> None:
        if saving.hooks:
            raise RuntimeError(self.message)
        self.before, saving.refused = saving.refused, self.message

    def __exit__(self, *exc: object) -> None:
        saving.refused = self.before
