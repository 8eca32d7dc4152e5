"""Elementary functions as vector code."""

from __future__ import annotations

from collections.abc import Callable

from cupola.codegen.llvm.builder import Builder, Val

FUNCTIONS: dict[str, Callable[..., Val]] = {}
