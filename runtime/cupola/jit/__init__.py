"""Compilation entry points (torch.compile, torch.jit).

Kernels are compiled when they run, with or without these; ``compile`` also skips recording.
"""

from cupola.jit.compiled import Compiled, compile, switches, wrappers
from cupola.jit.explain import Explanation, explain
from cupola.jit.script import (
    Final,
    ScriptModule,
    export,
    ignore,
    interface,
    is_scripting,
    is_tracing,
    script,
    script_method,
    trace,
    unused,
)
from cupola.jit.signature import epoch

__all__ = [
    "Compiled",
    "Explanation",
    "Final",
    "ScriptModule",
    "compile",
    "epoch",
    "explain",
    "export",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "script",
    "script_method",
    "switches",
    "trace",
    "unused",
    "wrappers",
]
