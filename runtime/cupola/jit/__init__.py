"""Compilation entry points (torch.compile, torch.jit).

Kernels are compiled when they run, with or without these; ``compile`` also skips recording.
"""

from cupola.jit.compiled import Compiled, compile, switches, wrappers
from cupola.jit.explain import Explanation, explain
from cupola.jit.script import (
    Attribute,
    Error,
    Final,
    ScriptFunction,
    ScriptModule,
    annotate,
    enable_onednn_fusion,
    export,
    export_opnames,
    freeze,
    ignore,
    interface,
    is_scripting,
    is_tracing,
    onednn_fusion_enabled,
    optimize_for_inference,
    script,
    script_if_tracing,
    script_method,
    set_fusion_strategy,
    strict_fusion,
    trace,
    trace_module,
    unused,
)
from cupola.jit.signature import epoch
from cupola.symbolic import Future, fork, wait

__all__ = [
    "Attribute",
    "Compiled",
    "Error",
    "Explanation",
    "Final",
    "Future",
    "ScriptFunction",
    "ScriptModule",
    "annotate",
    "compile",
    "enable_onednn_fusion",
    "epoch",
    "explain",
    "export",
    "export_opnames",
    "fork",
    "freeze",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "onednn_fusion_enabled",
    "optimize_for_inference",
    "script",
    "script_if_tracing",
    "script_method",
    "set_fusion_strategy",
    "strict_fusion",
    "switches",
    "trace",
    "trace_module",
    "unused",
    "wait",
    "wrappers",
]
