"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.functional.joining import stack
from cupola.nn.utils.stateless import functional_call as _call
from cupola.tensor import Tensor


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: Any = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Calls a module with other parameters and buffers (torch.func.functional_call)."""
    given = parameter_and_buffer_dicts
    if not isinstance(given, dict):
        given = {k: v for d in given for k, v in d.items()}
    return _call(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of equal modules, stacked (torch.func.stack_module_state)."""

    def gathered(kind: str) -> dict[str, Tensor]:
        each = [dict(getattr(m, kind)()) for m in models]
        return {k: stack([d[k] for d in each]).detach() for k in each[0]}

    parameters = gathered("named_parameters")
    for p in parameters.values():
        p.requires_grad_()
    return parameters, gathered("named_buffers")


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Any:
    """Returns the function: graphs are functional as they are recorded."""
    return func
