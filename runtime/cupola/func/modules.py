"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupola.functional.joining import stack
from cupola.nn.modules.batchnorm import _BatchNorm
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
    """Calls a module with other parameters and buffers (torch.func.functional_call).

    Raises:
        ValueError: they are no dictionaries, or two dictionaries hold one name.
        RuntimeError: with ``strict``, a name is missing or there is none such.
    """
    given = parameter_and_buffer_dicts
    if isinstance(given, (list, tuple)):
        if not all(isinstance(d, dict) for d in given):
            raise ValueError(
                "Expected all elements of parameter_and_buffer_dicts to be dictionaries"
            )
    elif not isinstance(given, dict):
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(given)}"
        )
    return _call(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of equal modules, stacked (torch.func.stack_module_state).

    Raises:
        RuntimeError: there are none, or they differ in class or mode.
    """
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")

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


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Makes every batch normalization compute its statistics anew, in place
    (torch.func.replace_all_batch_norm_modules_).
    """
    for module in root.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """Returns the tensor: transformations wrap none (torch.func.debug_unwrap)."""
    return tensor
