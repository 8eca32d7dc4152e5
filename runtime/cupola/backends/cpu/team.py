"""Calls of hand-written modules that the one team of threads runs: ``codegen/llvm/team.py``."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Hashable
from typing import Any

from cupola.backends.cpu.jit import Jit
from cupola.backends.cpu.threads import threads


class Team:
    """Compiles such modules when they are first needed, and calls them.

    ``launcher`` gives the process's launcher, of which the compiler is used.
    """

    def __init__(self, launcher: Callable[[], Any]) -> None:
        self._launcher = launcher
        self._functions: dict[Hashable, Callable[[Any], None]] = {}

    @property
    def jit(self) -> Jit:
        """The compiler, and the processor that it writes code for."""
        found: Jit = self._launcher().jit
        return found

    def call(
        self,
        key: Hashable,
        module: Callable[[], str],
        arguments: tuple[str, ...],
        words: dict[str, int],
    ) -> None:
        """Calls the module named by ``key`` with these words; those not given are 0.

        ``team`` is the number of threads, unless it is given.
        """
        function = self._functions.get(key)
        if function is None:
            address = self.jit.module(module())
            function = self._functions[key] = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
        gomp, mine, all_ = threads.addresses
        words = {"team": threads.count, **words, "thread": mine, "threads": all_, "gomp": gomp}
        function((ctypes.c_int64 * len(arguments))(*[words.get(name, 0) for name in arguments]))
